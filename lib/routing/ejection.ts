/**
 * Outlier ejection, and a circuit breaker for each node: a node whose calls fail one after the other, or much more often than those of
 * the others, gets none for a while. Then one call tries it (half-open): if that is answered the node is back, if it fails the node is
 * out again, for longer.
 *
 * Sources: "Outlier detection" of Envoy (consecutive failures, success rate by mean and standard deviation, ejection times that grow, a
 * most share); gRFC A50; the half-open state is that of Nygard, "Release It!", 2007.
 */

/** When a node is left out, and for how long. */
export interface EjectionOptions {
  /** A node is left out after so many failures in a row; 0 = never for that. @default 5 */
  readonly consecutiveFailures: number;
  /**
   * A node is left out when its share of answered calls is below the mean of all nodes by so many standard deviations, looked at over
   * {@link INTERVAL_MS}; 0 = never for that. @default 1.9
   */
  readonly successRateDeviations: number;
  /**
   * How long for the first time, in ms; each further time takes that much longer, one less for each {@link INTERVAL_MS} between.
   * @default 5_000
   */
  readonly baseMs: number;
  /** How long at the most, in ms. @default 60_000 */
  readonly maxMs: number;
  /** At most this share of the nodes is left out, but one of several always may be. @default 0.5 */
  readonly maxShare: number;
}

export const DEFAULT_EJECTION: EjectionOptions = {
  consecutiveFailures: 5,
  successRateDeviations: 1.9,
  baseMs: 5_000,
  maxMs: 60_000,
  maxShare: 0.5,
};

/** Over so long success rates are counted. */
export const INTERVAL_MS = 10_000;
/** Success rates are compared among nodes with at least so many calls in the interval, if there are so many nodes. */
export const LEAST_CALLS = 50;
export const LEAST_NODES = 3;
/** A node that is less than this below the mean may be so by chance. */
export const LEAST_GAP = 0.05;
/** How often they are compared at the most. */
const LOOK_MS = 1_000;

/** Where time comes from. */
export interface EjectionSources {
  /** In ms, on the clock of `performance.now()`. */
  now(): number;
  /** Calls `task` once after `delayMs`; returns the way to stop that. */
  later(delayMs: number, task: () => void): () => void;
}

export const REAL_TIME: EjectionSources = {
  now: () => performance.now(),
  later(delayMs, task) {
    const timer = setTimeout(task, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

/** `closed`: takes calls; `open`: left out; `half-open`: waits for the one call that tries it, or for its answer. */
export type HealthState = 'closed' | 'open' | 'half-open';

/** The nodes of a service that this client has calls with. */
export class Ejection {
  private readonly nodes = new Set<NodeHealth>();
  private windowFrom = 0;
  private lookedAt = 0;

  constructor(
    readonly options: EjectionOptions,
    readonly sources: EjectionSources = REAL_TIME,
  ) {}

  /** A node of the service; `onChange` is told when it may be chosen, or no longer. */
  watch(onChange: (why: string | undefined) => void): NodeHealth {
    const node = new NodeHealth(this, onChange);
    this.nodes.add(node);
    return node;
  }

  /** The node is gone. */
  forget(node: NodeHealth): void {
    this.nodes.delete(node);
  }

  /** True when one more may be left out. */
  get mayEject(): boolean {
    let out = 0;
    for (const { state } of this.nodes) if (state !== 'closed') out += 1;
    const { size } = this.nodes;
    return size > 1 && out + 1 <= Math.max(1, Math.floor(size * this.options.maxShare));
  }

  /** Looks whether a node fails much more often than the others. */
  compare(): void {
    const now = this.sources.now();
    if (this.options.successRateDeviations === 0 || now - this.lookedAt < LOOK_MS) return;
    this.lookedAt = now;
    const counted = [...this.nodes].filter(({ calls }) => calls >= LEAST_CALLS);
    if (counted.length >= LEAST_NODES) this.ejectWorst(counted);
    if (now - this.windowFrom < INTERVAL_MS) return;
    this.windowFrom = now;
    for (const node of this.nodes) node.beginWindow();
  }

  private ejectWorst(counted: readonly NodeHealth[]): void {
    const mean = counted.reduce((sum, { successRate }) => sum + successRate, 0) / counted.length;
    const variance =
      counted.reduce((sum, { successRate }) => sum + (successRate - mean) ** 2, 0) / counted.length;
    const least = mean - Math.max(this.options.successRateDeviations * Math.sqrt(variance), LEAST_GAP);
    for (const node of counted) {
      if (node.successRate < least)
        node.eject(
          `${Math.round(100 * node.successRate)} % of its calls were answered, where ${Math.round(100 * mean)} % are usual`,
        );
    }
  }
}

/** How the calls of this client to one node fare. */
export class NodeHealth {
  state: HealthState = 'closed';
  private failures = 0;
  private answered = 0;
  private failed = 0;
  private ejections = 0;
  private closedAt = 0;
  private trying = false;
  private lastCause: unknown;
  private stopped = false;
  private stopWaiting: () => void = () => undefined;

  constructor(
    private readonly ejection: Ejection,
    private readonly onChange: (why: string | undefined) => void,
  ) {}

  /** True while calls may be given to the node: always, or the one that tries it. */
  get admits(): boolean {
    return this.state === 'closed' || this.wantsTrial;
  }

  /** True while the node waits for the one call that tries it. */
  get wantsTrial(): boolean {
    return this.state === 'half-open' && !this.trying;
  }

  /** Calls of the interval. */
  get calls(): number {
    return this.answered + this.failed;
  }

  get successRate(): number {
    return this.calls === 0 ? 1 : this.answered / this.calls;
  }

  /** A call is given to the node. */
  begin(): void {
    if (!this.wantsTrial) return;
    this.trying = true;
    this.onChange(undefined);
  }

  /** The node has answered a call, with whatever its handler gave or threw. True when that brings it back. */
  onAnswer(): boolean {
    this.failures = 0;
    this.lastCause = undefined;
    this.answered += 1;
    // While it is left out, what it still answers was begun before, or says nothing of how often it fails.
    if (this.state !== 'half-open') return false;
    this.close();
    return true;
  }

  /** A call has failed because of the node. All that has one `cause`, as the end of a connection, counts as one failure. */
  onFailure(reason: string, cause?: unknown): void {
    if (cause !== undefined && cause === this.lastCause) return;
    this.lastCause = cause;
    this.failures += 1;
    this.failed += 1;
    const { consecutiveFailures } = this.ejection.options;
    if (this.state === 'half-open') {
      // Other calls were begun before it was left out.
      if (this.trying && !this.stopped) this.open(`it failed again: ${reason}`);
    } else if (consecutiveFailures > 0 && this.failures >= consecutiveFailures)
      this.eject(`${this.failures} calls in a row have failed, the last one with: ${reason}`);
    else this.ejection.compare();
  }

  /** A call has ended and says nothing of the node. */
  onNeutral(): void {
    if (this.state !== 'half-open' || !this.trying) return;
    this.trying = false;
    this.onChange(undefined);
  }

  /** Leaves the node out for a while, if so many may be. */
  eject(why: string): void {
    if (this.state !== 'closed' || this.stopped || !this.ejection.mayEject) return;
    const forgiven = Math.floor((this.ejection.sources.now() - this.closedAt) / INTERVAL_MS);
    this.ejections = Math.max(0, this.ejections - forgiven);
    this.open(why);
  }

  /** Counts anew what success rates are made of. */
  beginWindow(): void {
    this.answered = 0;
    this.failed = 0;
  }

  /** The node is gone. */
  stop(): void {
    this.stopped = true;
    this.stopWaiting();
    this.ejection.forget(this);
  }

  private open(why: string): void {
    const { options, sources } = this.ejection;
    this.state = 'open';
    this.trying = false;
    this.failures = 0;
    this.ejections += 1;
    const forMs = Math.min(options.maxMs, options.baseMs * this.ejections);
    this.stopWaiting();
    this.stopWaiting = sources.later(forMs, () => {
      this.state = 'half-open';
      this.onChange(undefined);
    });
    this.onChange(`${why}; it gets no calls for ${forMs} ms`);
  }

  private close(): void {
    this.closedAt = this.ejection.sources.now();
    this.state = 'closed';
    this.trying = false;
    this.onChange(undefined);
  }
}
