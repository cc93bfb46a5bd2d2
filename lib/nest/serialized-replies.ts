/** The answers of a server with a serializer: each packet passes through it, in order. */
import type { ConsumerSerializer } from '@nestjs/microservices';
import { MeshError } from '../protocol/mesh-error.js';
import type { ResponsePacket } from '../protocol/packet.js';
import type { InboundCall, ReplyCarrier } from '../transport/inbound-call.js';
import { isPromiseLike } from './foreign.js';
import { responseFrom } from './serialization.js';

const READY = Promise.resolve();

/** Stands between a call and what carries its answer. */
export class SerializedReplies implements ReplyCarrier {
  /** What is being serialized, one packet after the other; `undefined` when nothing is. */
  private tail: Promise<void> | undefined;
  private broken = false;

  constructor(
    private readonly inner: ReplyCarrier,
    private readonly call: InboundCall,
    private readonly serializer: ConsumerSerializer,
    /** Makes the last packet of a call whose answer could not be serialized. */
    private readonly failure: (call: InboundCall, error: unknown) => ResponsePacket,
  ) {}

  isCongested(): boolean {
    return this.tail !== undefined || this.inner.isCongested(this.call);
  }

  async ready(): Promise<void> {
    await (this.tail ?? READY);
    await this.inner.ready(this.call);
  }

  reply(packet: ResponsePacket): void {
    if (this.tail !== undefined) {
      this.queue(packet, () => this.serialize(packet));
      return;
    }
    let given: unknown;
    try {
      given = this.serialize(packet);
    } catch (error) {
      this.fail(packet, error);
      return;
    }
    if (isPromiseLike(given)) this.queue(packet, () => given);
    else this.write(packet, given);
  }

  settle(call: InboundCall): void {
    if (this.tail === undefined) this.inner.settle(call);
    else void this.tail.then(() => this.inner.settle(call));
  }

  private serialize(packet: ResponsePacket): unknown {
    const shown = { ...packet };
    // Not one of Nest's words: it travels beside what is made of them.
    delete shown.errorId;
    return this.serializer.serialize(shown as never);
  }

  private queue(packet: ResponsePacket, serialize: () => unknown): void {
    const step = async (): Promise<void> => {
      if (this.broken) return;
      try {
        const given = await serialize();
        // Nothing follows a cancel.
        if (!this.broken && !this.call.cancelled) this.write(packet, given);
      } catch (error) {
        this.fail(packet, error);
      }
    };
    const tail = (this.tail ?? READY).then(step).then(() => {
      if (this.tail === tail) this.tail = undefined;
    });
    this.tail = tail;
  }

  private write(packet: ResponsePacket, given: unknown): void {
    const { id, isDisposed, status, errorId } = packet;
    const written: ResponsePacket = { id, ...responseFrom(given, packet) };
    if (isDisposed !== undefined) written.isDisposed = isDisposed;
    if (written.err !== undefined && status !== undefined) written.status = status;
    if (written.err !== undefined && errorId !== undefined) written.errorId = errorId;
    this.inner.reply(written);
  }

  /** Ends the call in the place of the packet. */
  private fail(packet: ResponsePacket, error: unknown): void {
    if (this.broken) return;
    this.broken = true;
    const last = this.failure(this.call, error);
    try {
      this.inner.reply(last);
    } catch {
      // The channel itself is gone, and with it the caller.
    }
    if (packet.isDisposed !== true) this.call.stop(MeshError.from(error, 'INTERNAL'));
  }
}
