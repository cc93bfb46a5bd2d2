/** A call that a peer makes: the handler's side of it. */
import { MeshError } from '../protocol/mesh-error.js';
import {
  readMetadata,
  readTimeoutMs,
  type Metadata,
  type PacketId,
  type RequestPacket,
  type ResponsePacket,
} from '../protocol/packet.js';
import { CallExpiry } from './call-expiry.js';
import type { DeadlineQueue } from './deadline-queue.js';

/** The channel on which the call came in. */
export interface ReplyCarrier {
  /** Throws a `MeshError` when the packet cannot be written. */
  reply(packet: ResponsePacket): void;
  /** Resolves when the peer has room for more of the call's answer. */
  ready(call: InboundCall): Promise<void>;
  isCongested(call: InboundCall): boolean;
  /** The call has ended. */
  settle(call: InboundCall): void;
}

/** The turn of a call on a node that handles only so many at a time. */
export interface CallTurn {
  /** The call is answered or cancelled; that ends its turn unless a handler holds it. */
  settled(): void;
  /** A handler runs for the call: the turn lasts until {@link release}, also when the caller gives up before. */
  hold(): void;
  /** The handler has ended. */
  release(): void;
}

/** Exactly one terminal packet leaves for each call that is not cancelled; after it every method does nothing. */
export class InboundCall {
  readonly id: PacketId;
  pattern: unknown;
  data: unknown;
  metadata: Metadata | undefined;
  /** The caller's remaining budget when the call came in, in ms; `undefined` without one. */
  readonly timeoutMs: number | undefined;
  private readonly receivedAt: number;
  private state: 'open' | 'answered' | 'cancelled' = 'open';
  private streaming = false;
  private controller: AbortController | undefined;
  private reason: MeshError | undefined;
  private expiry: CallExpiry | undefined;
  /** Told once when the call is cancelled or expires; set by who runs the handler. */
  onCancel: (() => void) | undefined;
  /** Set where the node handles only so many calls at a time. */
  turn: CallTurn | undefined;

  constructor(
    packet: RequestPacket,
    private carrier: ReplyCarrier,
  ) {
    this.id = packet.id;
    this.pattern = packet.pattern;
    this.data = packet.data;
    this.metadata = packet.metadata === undefined ? undefined : readMetadata(packet.metadata);
    this.timeoutMs = packet.timeout === undefined ? undefined : readTimeoutMs(packet.timeout);
    this.receivedAt = this.timeoutMs === undefined ? 0 : performance.now();
  }

  /** True until it is answered or cancelled. */
  get open(): boolean {
    return this.state === 'open';
  }

  /** True when its caller no longer wants the answer, or is gone. */
  get cancelled(): boolean {
    return this.state === 'cancelled';
  }

  /** What a deserializer has made of the request. */
  read(request: { pattern: unknown; data: unknown; metadata: Metadata | undefined }): void {
    this.pattern = request.pattern;
    this.data = request.data;
    this.metadata = request.metadata;
  }

  /** Has the answer pass through something of the handler's side. */
  sendThrough(wrap: (carrier: ReplyCarrier) => ReplyCarrier): void {
    this.carrier = wrap(this.carrier);
  }

  /** Its answer has ended otherwise: the handler is cancelled. */
  stop(reason: MeshError): void {
    if (this.open) this.abort('answered', reason);
  }

  /**
   * When the caller gives up or the call {@link expire}s, on the clock of `performance.now()`; neither happens once a stream of
   * answers has begun.
   */
  get deadline(): number | undefined {
    if (this.streaming) return undefined;
    if (this.expiry !== undefined) return this.expiry.timedAt;
    return this.timeoutMs === undefined ? undefined : this.receivedAt + this.timeoutMs;
  }

  /** Aborts when the caller cancels or is lost, or the call expires; made when first asked for. */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.reason !== undefined) this.controller.abort(this.reason);
    return this.controller.signal;
  }

  /** Lets the call {@link expire} `limitMs` from now, or when its caller gives up if that is sooner; 0 = never. */
  limit(limitMs: number, deadlines: DeadlineQueue): void {
    if (limitMs > 0 && this.open) this.expiry = new CallExpiry(this, limitMs, deadlines);
  }

  /** One value of a stream of answers. Throws when it cannot be serialized or is too large. */
  next(value: unknown): void {
    // JSON has no `undefined`: a packet that is a response without one.
    this.streaming = true;
    this.expiry?.stop();
    if (this.open)
      this.carrier.reply(
        value === undefined ? { id: this.id, isDisposed: false } : { id: this.id, response: value },
      );
  }

  /** The only value, and the end. Throws when it cannot be serialized or is too large; the call is then still open. */
  respond(value: unknown): void {
    if (!this.open) return;
    this.carrier.reply({ id: this.id, response: value, isDisposed: true });
    this.settle('answered');
  }

  /** The end of a stream of answers. */
  complete(): void {
    if (!this.open) return;
    this.carrier.reply({ id: this.id, isDisposed: true });
    this.settle('answered');
  }

  /**
   * The end with an error, as it goes on the wire; `errorId` names the line of the log that tells what `err` hides. Throws when
   * it cannot be serialized; the call is then still open.
   */
  fail(err: unknown, errorId?: string): void {
    if (!this.open) return;
    const packet: ResponsePacket = { id: this.id, err, isDisposed: true, status: 'error' };
    if (errorId !== undefined) packet.errorId = errorId;
    this.carrier.reply(packet);
    this.settle('answered');
  }

  /** True when a producer of many values should wait for {@link ready}. */
  get congested(): boolean {
    return this.carrier.isCongested(this);
  }

  /** Resolves when the caller has room for more; rejects when it is gone. */
  ready(): Promise<void> {
    return this.carrier.ready(this);
  }

  /** The caller no longer wants the answer, or is gone. */
  cancel(reason: MeshError): void {
    if (this.open) this.abort('cancelled', reason);
  }

  /** This node gives up: the caller is told why, and the handler is cancelled. */
  expire(reason: MeshError): void {
    if (!this.open) return;
    try {
      this.carrier.reply({ id: this.id, err: reason.toWire(), isDisposed: true, status: 'error' });
    } catch {
      // The caller takes nothing any more; there its own limit ends the call.
    }
    this.abort('answered', reason);
  }

  private abort(state: 'answered' | 'cancelled', reason: MeshError): void {
    this.reason = reason;
    this.settle(state);
    this.controller?.abort(reason);
    this.onCancel?.();
  }

  private settle(state: 'answered' | 'cancelled'): void {
    this.state = state;
    this.expiry?.stop();
    this.turn?.settled();
    this.carrier.settle(this);
  }
}

/** Why the signal of a call aborts when its caller cancelled it. */
export function cancelledByCaller(): MeshError {
  return new MeshError('CANCELLED', 'the caller cancelled the call');
}
