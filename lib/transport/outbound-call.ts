/** A call this node makes: from the wish to the last packet of its answer, whichever channel it ends up on. */
import { MeshError } from '../protocol/mesh-error.js';
import type { EventAck, Metadata, PacketId, ResponsePacket } from '../protocol/packet.js';
import type { DeadlineQueue, Timed } from './deadline-queue.js';
import type { HeldAnswer } from './held-answer.js';
import type { LargeSend } from './large-send.js';

/** How a call is made again: see `RetryOptions` of the routing. */
export interface CallRetry {
  readonly attempts?: number;
  readonly baseMs?: number;
  readonly maxMs?: number;
}

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
  /** How it is made again when it fails; what is left out is as the node has it. */
  readonly retry?: CallRetry | undefined;
  /** True when it may run twice, false when not. @default as the nodes of the service have announced for its route */
  readonly idempotent?: boolean | undefined;
  /** Made a second time, on another node, when there is no answer after so long, in ms; only where it may run twice. */
  readonly hedgeAfterMs?: number | undefined;
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

/**
 * How a call ended as far as the node is concerned: `answered` with whatever its handler gave or threw, `failed` because of the node or
 * the way to it, `busy` because it takes no more now, `neutral` for reasons that say nothing of it.
 */
export type CallOutcome = 'answered' | 'failed' | 'busy' | 'neutral';

/** The node that a call was given to, where it counts as long as it is open. */
export interface CallPlace {
  begin(): void;
  /** The first value of a stream of answers has come, `tookMs` after the call was given to the node. */
  began(tookMs: number, nowMs: number): void;
  /** The call has ended; `tookMs` is `undefined` after {@link began}, `reason` that of a failure. */
  end(outcome: CallOutcome, tookMs: number | undefined, nowMs: number, reason: MeshError | undefined): void;
}

/** Who may make a call again that has failed. */
export interface CallRecovery {
  /** True when it has taken the call over: then the failure is not the end of it. */
  recover(call: OutboundCall, error: MeshError): boolean;
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
  private place: CallPlace | undefined = undefined;
  private placedAt = 0;
  /** Who is asked when it fails; `undefined`: nobody. */
  recovery: CallRecovery | undefined = undefined;
  /** Where it wants to go, as {@link recovery} knows it. */
  wish: unknown = undefined;
  /** How often it was made, and where; `undefined` while that is once at the most. */
  attempts: { count: number; readonly nodes: Set<string> } | undefined = undefined;
  /** True when an earlier attempt may have reached its handler. */
  mayHaveRun = false;
  private begun = false;

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
  placeAt(place: CallPlace): void {
    if (this.ended) return;
    this.place = place;
    this.placedAt =
      this.waited || this.request.timeoutMs === 0 ? performance.now() : this.timedAt - this.request.timeoutMs;
    place.begin();
  }

  /** A packet of the answer has come. */
  receive(packet: ResponsePacket): void {
    if (this.ended) return;
    if (packet.isDisposed === true || packet.err) this.finish(false, 'answered');
    else if (!this.begun) {
      // The answer is a stream, and it has begun: the limit is for answers that stay out.
      this.begun = true;
      this.deadlines.remove(this);
      const now = performance.now();
      this.place?.began(now - this.placedAt, now);
    }
    this.observer.onPacket(packet);
  }

  /** Ends the call with an error of the transport. `tellPeer` sends a cancel when the peer still works on it. */
  fail(error: MeshError, tellPeer = false): void {
    if (this.ended) return;
    const failure = error.at({
      service: this.service,
      nodeId: this.carrier?.peerNodeId,
      pattern: this.request.route,
    });
    if (!this.begun && this.recovery?.recover(this, failure) === true) return;
    this.finish(tellPeer, outcomeOf(error), error);
    this.observer.onFailure(this.mayHaveRun ? failure.withDelivery('unknown') : failure);
  }

  /** Takes the call from the channel that carries it, so that it can be made again. `error` is why. */
  detach(error: MeshError): void {
    this.leave(outcomeOf(error), error);
    this.carrier?.release(this, error.delivery === 'unknown');
    this.carrier = undefined;
    this.large = undefined;
    this.held = undefined;
    if (error.delivery === 'unknown') this.mayHaveRun = true;
  }

  /** The caller no longer wants the answer: nothing more is called. */
  cancel(): void {
    if (!this.ended) this.finish(true, 'neutral');
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

  private finish(tellPeer: boolean, outcome: CallOutcome, reason?: MeshError): void {
    this.ended = true;
    this.deadlines.remove(this);
    this.leave(outcome, reason);
    this.carrier?.release(this, tellPeer);
  }

  private leave(outcome: CallOutcome, reason: MeshError | undefined): void {
    const { place } = this;
    if (place === undefined) return;
    this.place = undefined;
    const now = performance.now();
    place.end(outcome, this.begun ? undefined : now - this.placedAt, now, reason);
  }
}

function outcomeOf({ code, delivery }: MeshError): CallOutcome {
  switch (code) {
    case 'RESOURCE_EXHAUSTED':
      return delivery === 'refused' ? 'busy' : 'neutral';
    // One that is shutting down refuses what comes late, which is in order.
    case 'UNAVAILABLE':
      return delivery === 'refused' ? 'neutral' : 'failed';
    case 'DEADLINE_EXCEEDED':
    case 'INTERNAL':
    case 'DATA_LOSS':
      return 'failed';
    default:
      return 'neutral';
  }
}
