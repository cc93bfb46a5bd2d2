/** The calls that the peer makes on one packet channel: what refuses them, and the way of their answers. */
import type { Codec } from '../protocol/codec.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { EventAck, PacketId, RequestPacket, ResponsePacket } from '../protocol/packet.js';
import type { FrameStream } from './frame-stream.js';
import { LargeAnswers } from './large-answers.js';
import type { LargeMessages } from './large-messages.js';
import { cancelledByCaller, InboundCall, type ReplyCarrier } from './inbound-call.js';
import type { Peer } from './peer.js';

/** What the calls need of their channel. */
export interface InboundCallsHost {
  readonly frames: FrameStream;
  readonly codec: Codec;
  readonly limits: WireLimits;
  readonly large: LargeMessages;
  readonly peer: Peer;
  /** A call has come that nothing refuses. */
  dispatch(call: InboundCall): void;
  /** The same for an event whose acknowledgement is the answer of the call. */
  dispatchEvent(call: InboundCall, ack: EventAck): void;
  /** A call has ended. */
  checkIdle(): void;
  /** The peer broke a rule, or something could not be sent. */
  fault(kind: string, message: string): void;
}

/** How soon a call that finds too many open on its channel may come again, in ms: long enough for many of them to end. */
const RETRY_AFTER_MS = 50;

export class InboundCalls implements ReplyCarrier {
  private readonly calls = new Map<PacketId, InboundCall>();
  private readonly answers: LargeAnswers;

  constructor(private readonly host: InboundCallsHost) {
    this.answers = new LargeAnswers(host, (id, error) => this.calls.get(id)?.cancel(error));
  }

  /** Calls that are being answered, those whose last packet is still on its way included. */
  get size(): number {
    return this.calls.size + this.answers.countWithout(this.calls);
  }

  isCongested(call: InboundCall): boolean {
    return this.host.frames.congested || this.answers.isPending(call.id);
  }

  async ready(call: InboundCall): Promise<void> {
    await this.answers.whenSent(call.id);
    return this.host.frames.ready();
  }

  reply(packet: ResponsePacket): void {
    const { frames, codec, peer, large } = this.host;
    if (packet.errorId !== undefined && peer.plain) delete packet.errorId;
    const payload = codec.encode(packet);
    if (large.isLarge(payload)) this.answers.send(packet.id, payload);
    else frames.send(payload);
  }

  settle(call: InboundCall): void {
    this.calls.delete(call.id);
    this.host.checkIdle();
  }

  /** A request has come. */
  onRequest(packet: RequestPacket): void {
    const call = this.admit(packet);
    if (call !== undefined) this.host.dispatch(call);
  }

  /** An event that asks for an acknowledgement has come. */
  onEvent(packet: RequestPacket, ack: unknown): void {
    const call = this.admit(packet);
    if (call !== undefined) this.host.dispatchEvent(call, ack === 'handled' ? ack : 'received');
  }

  /** The call of a request, which is open from here on; `undefined` when it was refused. */
  private admit(packet: RequestPacket): InboundCall | undefined {
    const { id } = packet;
    const { maxOpenCalls } = this.host.limits;
    if (this.calls.has(id)) {
      // Answering it would end the first call with that id, which is still open.
      this.host.fault(
        'duplicate',
        `the peer used the id ${JSON.stringify(id)} twice at a time; the second request is ignored`,
      );
      return undefined;
    }
    if (this.calls.size >= maxOpenCalls) {
      this.replyError(
        id,
        new MeshError(
          'RESOURCE_EXHAUSTED',
          `more than limits.maxOpenCalls (${maxOpenCalls}) calls are open on this channel`,
          { delivery: 'refused', details: { retryAfterMs: RETRY_AFTER_MS } },
        ),
      );
      return undefined;
    }
    const call = new InboundCall(packet, this);
    if (call.timeoutMs === 0) {
      this.replyError(
        id,
        new MeshError('DEADLINE_EXCEEDED', 'the time limit of the call was over before it began', {
          delivery: 'refused',
        }),
      );
      return undefined;
    }
    this.calls.set(id, call);
    return call;
  }

  /** The peer no longer wants the answer. */
  onCancel(id: PacketId): void {
    this.calls.get(id)?.cancel(cancelledByCaller());
    this.answers.cancel(id);
  }

  /** Answers a request that is no call here. */
  replyError(id: PacketId, error: MeshError): void {
    try {
      this.reply({ id, err: error.toWire(), isDisposed: true, status: 'error' });
    } catch (cause) {
      this.host.fault('reply', `an error could not be sent: ${String(cause)}`);
    }
  }

  /** The caller is gone. */
  cancelAll(reason: MeshError): void {
    for (const call of [...this.calls.values()])
      call.cancel(new MeshError('CANCELLED', `the caller is gone: ${reason.rawMessage}`));
  }
}
