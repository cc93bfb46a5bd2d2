/** Large packets of answers: what stands in their places on the packet channel, and what happens when they cannot be sent. */
import { randomUUID } from 'node:crypto';
import type { Codec } from '../protocol/codec.js';
import type { FramePayload } from '../protocol/frame.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { PacketId, PlaceholderPacket } from '../protocol/packet.js';
import type { FrameStream } from './frame-stream.js';
import type { LargeMessages } from './large-messages.js';
import type { LargeSend } from './large-send.js';

/** What they need of their channel. */
export interface LargeAnswersHost {
  readonly frames: FrameStream;
  readonly codec: Codec;
  readonly large: LargeMessages;
  /** One is over. */
  checkIdle(): void;
  fault(kind: string, message: string): void;
}

interface Pending {
  readonly sends: Set<LargeSend>;
  readonly waiting: (() => void)[];
}

export class LargeAnswers {
  private readonly pending = new Map<PacketId, Pending>();

  constructor(
    private readonly host: LargeAnswersHost,
    /** The answer to this call cannot go on. */
    private readonly onBroken: (id: PacketId, error: MeshError) => void,
  ) {}

  /** True while a packet of the answer is on its way on a stream of its own. */
  isPending(id: PacketId): boolean {
    return this.pending.size > 0 && this.pending.has(id);
  }

  /** Resolves when no packet of the answer is on its way on a stream of its own. */
  whenSent(id: PacketId): Promise<void> | undefined {
    const pending = this.pending.get(id);
    return pending && new Promise((resolve) => pending.waiting.push(resolve));
  }

  /** How many answers are on their way whose id is not in `calls`. */
  countWithout(calls: ReadonlyMap<PacketId, unknown>): number {
    let count = 0;
    for (const id of this.pending.keys()) if (!calls.has(id)) count += 1;
    return count;
  }

  /** Sends a packet of the answer `id`. Throws a `MeshError` when it cannot even begin. */
  send(id: PacketId, payload: FramePayload): void {
    const { frames, large } = this.host;
    const token = randomUUID();
    const send = large.send(payload, token, {
      onDone: () => this.remove(id, send),
      onFailure: (error) => {
        this.remove(id, send);
        this.onBroken(id, error);
        this.giveUp(id, token, error);
      },
    });
    if (send === undefined) {
      frames.send(payload);
      return;
    }
    try {
      this.say({ id, open: token });
    } catch (error) {
      send.cancel();
      throw error;
    }
    let pending = this.pending.get(id);
    if (pending === undefined) this.pending.set(id, (pending = { sends: new Set(), waiting: [] }));
    pending.sends.add(send);
  }

  /** The caller no longer wants the answer. */
  cancel(id: PacketId): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    for (const send of [...pending.sends]) {
      send.cancel();
      this.remove(id, send);
    }
  }

  private remove(id: PacketId, send: LargeSend | undefined): void {
    const pending = this.pending.get(id);
    if (send === undefined || pending?.sends.delete(send) !== true || pending.sends.size > 0) return;
    this.pending.delete(id);
    for (const resolve of pending.waiting) resolve();
    this.host.checkIdle();
  }

  private giveUp(id: PacketId, token: string, error: MeshError): void {
    // A reset by the caller says that it does not want the packet.
    if (error.code === 'CANCELLED' || !this.host.frames.writable) return;
    const why = new MeshError('UNAVAILABLE', `the answer could not be sent: ${error.rawMessage}`);
    try {
      this.say({ id, open: token, err: why.toWire(), isDisposed: true, status: 'error' });
    } catch (cause) {
      this.host.fault('reply', `an error could not be sent: ${String(cause)}`);
    }
  }

  private say(packet: PlaceholderPacket): void {
    this.host.frames.send(this.host.codec.encode(packet));
  }
}
