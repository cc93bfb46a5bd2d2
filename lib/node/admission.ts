/**
 * How many calls this node handles at a time: what is beyond that waits for its turn, in order, as long as it can still make its
 * deadline; what cannot, and what finds the queue full, is refused at once with a hint when to come back.
 *
 * Sources: "Using load shedding to avoid overload" (Yanacek, Amazon Builders' Library, 2019); "Handling Overload" (Beyer et al., "Site
 * Reliability Engineering", 2016). The wait is estimated by Little's law: the mean handling time, by place in the queue and concurrency.
 */
import { MeshError } from '../protocol/mesh-error.js';
import type { DeadlineQueue, Timed } from '../transport/deadline-queue.js';
import type { CallTurn, InboundCall } from '../transport/inbound-call.js';
import { shuttingDown } from './refusals.js';

/** How much one more call changes the mean handling time. */
const NEWEST_SHARE = 0.1;
/** The bounds of the hint: less is lost in the round trip, and after more nobody knows how busy the node is. */
const LEAST_HINT_MS = 10;
const MOST_HINT_MS = 5_000;

/** What the node allows. */
export interface AdmissionOptions {
  /** Calls that are handled at a time. */
  readonly maxConcurrency: number;
  /** Calls that may wait for their turn. */
  readonly maxQueue: number;
}

/** Where time comes from. */
export interface AdmissionSources {
  /** In ms, on the clock of `performance.now()`. */
  now(): number;
  readonly deadlines: Pick<DeadlineQueue, 'add' | 'remove'>;
}

/** What is asked of a call. */
export type AdmittedCall = Pick<InboundCall, 'deadline' | 'turn' | 'expire'>;

/** `Origin` is what travels beside a call. */
export class Admission<Call extends AdmittedCall, Origin> {
  /** Calls that were refused since the node began. */
  refused = 0;
  private running = 0;
  private readonly queue = new Set<Turn<Call, Origin>>();
  private meanMs = 0;
  private draining = false;
  private advancing = false;

  constructor(
    private readonly options: AdmissionOptions,
    readonly sources: AdmissionSources,
    /** Handles a call. Must not throw. */
    private readonly handle: (call: Call, origin: Origin) => void,
  ) {}

  /** Calls that are handled now. */
  get handled(): number {
    return this.running;
  }

  /** Calls that wait for their turn. */
  get queued(): number {
    return this.queue.size;
  }

  /** Handles the call, now or when its turn comes, or refuses it. */
  admit(call: Call, origin: Origin): void {
    const { queue, options } = this;
    const turn = new Turn(this, call, origin);
    if (this.running < options.maxConcurrency && queue.size === 0) this.begin(turn);
    else if (this.draining) this.refuse(call, shuttingDown());
    else if (queue.size >= options.maxQueue) this.refuse(call, this.full());
    else this.wait(turn);
  }

  /** Refuses what waits, so that its callers take it elsewhere, and from now on what would have to. */
  drain(): void {
    this.draining = true;
    for (const turn of [...this.queue]) {
      this.leave(turn);
      this.refuse(turn.call, shuttingDown());
    }
  }

  /** The turn is given up before it has come. */
  leave(turn: Turn<Call, Origin>): void {
    if (this.queue.delete(turn)) this.sources.deadlines.remove(turn);
  }

  /** The time of the call is over before its turn has come. */
  expired(turn: Turn<Call, Origin>): void {
    this.leave(turn);
    const message = `the time limit of the call was over before its turn came ${this.allowed}`;
    this.refuse(turn.call, new MeshError('DEADLINE_EXCEEDED', message, { delivery: 'refused' }));
  }

  /** The turn is over: the next one comes. */
  end(tookMs: number): void {
    this.running -= 1;
    this.meanMs = this.meanMs === 0 ? tookMs : this.meanMs + NEWEST_SHARE * (tookMs - this.meanMs);
    this.advance();
  }

  private wait(turn: Turn<Call, Origin>): void {
    const { sources, queue } = this;
    const { deadline } = turn.call;
    if (deadline !== undefined) {
      const leftMs = deadline - sources.now();
      const waitMs = this.waitMs(queue.size + 1);
      if (leftMs < waitMs) {
        this.refuse(turn.call, this.tooBusy(waitMs, leftMs));
        return;
      }
      sources.deadlines.add(turn, Math.ceil(leftMs));
    }
    queue.add(turn);
  }

  /** A handler that ends at once makes room at once: without the mark, each would be called from within the one before. */
  private advance(): void {
    if (this.advancing) return;
    this.advancing = true;
    for (const turn of this.queue) {
      if (this.running >= this.options.maxConcurrency) break;
      this.leave(turn);
      this.begin(turn);
    }
    this.advancing = false;
  }

  private begin(turn: Turn<Call, Origin>): void {
    this.running += 1;
    turn.began();
    this.handle(turn.call, turn.origin);
  }

  private refuse(call: Call, error: MeshError): void {
    this.refused += 1;
    call.turn = undefined;
    call.expire(error);
  }

  /** How long the call in this place waits for its turn, counted from 1. */
  private waitMs(place: number): number {
    return (this.meanMs * place) / this.options.maxConcurrency;
  }

  private get allowed(): string {
    const { maxConcurrency, maxQueue } = this.options;
    return `(maxConcurrency ${maxConcurrency}, maxQueue ${maxQueue})`;
  }

  private full(): MeshError {
    return this.exhausted(`this node has as much to do as it may have ${this.allowed}`);
  }

  private tooBusy(waitMs: number, leftMs: number): MeshError {
    const wait = `about ${Math.ceil(waitMs)} ms`;
    return this.exhausted(
      `the call would wait ${wait} for its turn, and has ${Math.floor(leftMs)} ms ${this.allowed}`,
    );
  }

  private exhausted(message: string): MeshError {
    const emptyMs = Math.ceil(this.waitMs(Math.max(1, this.queue.size)));
    const retryAfterMs = Math.min(MOST_HINT_MS, Math.max(LEAST_HINT_MS, emptyMs));
    return new MeshError('RESOURCE_EXHAUSTED', message, { delivery: 'refused', details: { retryAfterMs } });
  }
}

/** One call, from its arrival until its handler has ended. */
class Turn<Call extends AdmittedCall, Origin> implements CallTurn, Timed {
  timedPrevious: Timed | undefined = undefined;
  timedNext: Timed | undefined = undefined;
  timedList: Timed['timedList'] = undefined;
  timedAt = 0;
  private state: 'waiting' | 'running' | 'over' = 'waiting';
  private held = false;
  private beganAt = 0;

  constructor(
    private readonly admission: Admission<Call, Origin>,
    readonly call: Call,
    readonly origin: Origin,
  ) {
    call.turn = this;
  }

  began(): void {
    this.state = 'running';
    this.beganAt = this.admission.sources.now();
  }

  settled(): void {
    if (this.state === 'waiting') {
      this.state = 'over';
      this.admission.leave(this);
    } else if (!this.held) this.release();
  }

  hold(): void {
    this.held = true;
  }

  release(): void {
    if (this.state !== 'running') return;
    this.state = 'over';
    this.admission.end(this.admission.sources.now() - this.beganAt);
  }

  onTimeout(): void {
    this.admission.expired(this);
  }
}
