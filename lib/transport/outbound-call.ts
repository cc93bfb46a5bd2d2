/** A call this node makes: from the wish to the last packet of its answer, whichever channel it ends up on. */
import { MeshError, type MeshErrorOrigin } from '../protocol/mesh-error.js';
import type { EventAck, Metadata, PacketId, ResponsePacket } from '../protocol/packet.js';
import type { DeadlineQueue, Timed } from './deadline-queue.js';
import type { HeldAnswer } from './held-answer.js';
import type { LargeSend } from './large-send.js';

/** What is asked of the peer. */
export interface CallRequest {
  /** The pattern as the user gave it. */
  readonly pattern: unknown;
  /** The pattern as a string, as handlers are found by it. */
  readonly route: string;
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
  /** Until the answer, or for a stream of answers its first value; 0 = no limit. */
  readonly timeoutMs: number;
  /** For an event whose acknowledgement is the answer. */
  readonly ack?: EventAck | undefined;
}

/** Who waits for the answer. After the end (an error, or a packet with `isDisposed`) nothing more is called. */
export interface CallObserver {
  /** A packet of the answer; it is the last one when it has `isDisposed` or a truthy `err`. */
  onPacket(packet: ResponsePacket): void;
  /** The transport failed the call. */
  onFailure(error: MeshError): void;
}

/** The channel that carries a call. */
export interface CallCarrier {
  readonly peerNodeId: string | undefined;
  /** Forgets the call; says so to the peer when `tellPeer`. */
  release(call: OutboundCall, tellPeer: boolean): void;
  /** True when the packet of the call was handed to HTTP/2. */
  wasSent(call: OutboundCall): boolean;
}

/** Where a call counts as long as it is open. */
export interface CallLoad {
  begin(): void;
  /** `answered`: by the peer, with a value. */
  end(answered: boolean): void;
}

export class OutboundCall implements Timed {
  timedPrevious: Timed | undefined = undefined;
  timedNext: Timed | undefined = undefined;
  timedList: Timed['timedList'] = undefined;
  timedAt = 0;

  /** Set by the channel that carries the call. */
  id: PacketId = 0;
  frameNumber = 0;
  /** The request, where it has a stream of its own. */
  large: LargeSend | undefined = undefined;
  /** What of the answer must wait for a packet that has a stream of its own. */
  held: HeldAnswer | undefined = undefined;
  carrier: CallCarrier | undefined = undefined;
  /** Set when the call waited for a node: part of its time is over. */
  waited = false;
  /** Set while it waits for a node: says what was found, for the error when its time runs out. */
  describeWait: (() => string) | undefined = undefined;
  private ended = false;
  private load: CallLoad | undefined = undefined;

  constructor(
    readonly request: CallRequest,
    readonly service: string | undefined,
    private readonly observer: CallObserver,
    private readonly deadlines: DeadlineQueue,
  ) {
    if (request.timeoutMs > 0) deadlines.add(this, request.timeoutMs);
  }

  /** False once the call has ended, in whatever way. */
  get open(): boolean {
    return !this.ended;
  }

  /** What is left of the time limit, in ms; `Infinity` without one. */
  remainingMs(): number {
    return this.request.timeoutMs === 0 ? Infinity : Math.max(0, this.timedAt - performance.now());
  }

  /** The call is given to a node, where it counts from here on. */
  countAt(load: CallLoad): void {
    if (this.ended) return;
    this.load?.end(false);
    this.load = load;
    load.begin();
  }

  /** A packet of the answer has come. */
  receive(packet: ResponsePacket): void {
    if (this.ended) return;
    if (packet.isDisposed === true || packet.err) this.finish(false, !packet.err);
    // The answer is a stream, and it has begun: the limit is for answers that stay out.
    else this.deadlines.remove(this);
    this.observer.onPacket(packet);
  }

  /** Ends the call with an error of the transport. `tellPeer` sends a cancel when the peer still works on it. */
  fail(error: MeshError, tellPeer = false): void {
    if (this.ended) return;
    const origin: MeshErrorOrigin = {
      service: this.service,
      nodeId: this.carrier?.peerNodeId,
      pattern: this.request.route,
    };
    this.finish(tellPeer);
    this.observer.onFailure(error.at(origin));
  }

  /** The caller no longer wants the answer: nothing more is called. */
  cancel(): void {
    if (!this.ended) this.finish(true);
  }

  onTimeout(): void {
    const { carrier, request } = this;
    const limit = `within ${request.timeoutMs} ms (timeoutMs)`;
    if (this.describeWait !== undefined) {
      const found = this.describeWait();
      this.fail(
        new MeshError('UNAVAILABLE', `'${request.route}' could not be sent ${limit}: ${found}`, {
          delivery: 'not-sent',
        }),
      );
      return;
    }
    const sent = carrier?.wasSent(this) === true;
    const why = sent ? 'there was no answer' : 'the peer took nothing';
    const error = new MeshError('DEADLINE_EXCEEDED', `'${request.route}' was not answered ${limit}: ${why}`, {
      delivery: sent ? 'unknown' : 'not-sent',
    });
    this.fail(error, true);
  }

  private finish(tellPeer: boolean, answered = false): void {
    this.ended = true;
    this.deadlines.remove(this);
    this.load?.end(answered);
    this.carrier?.release(this, tellPeer);
  }
}
