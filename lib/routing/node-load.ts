/**
 * What one client knows of how busy the nodes of a service are: its own calls that are open there, how long answers take, and what
 * the nodes say of themselves.
 *
 * Sources: the peak-sensitive average is that of Finagle's `PeakEwma` ("Beyond Round Robin: Load Balancing for Latency", Linkerd,
 * 2016): a slower answer counts at once, faster ones by and by. That failures count as slow answers, so that a node which fails
 * fast draws no calls, is Linkerd's load biaser. The ramp of new nodes is Envoy's slow start (linear, from a tenth). What stale reports of
 * load do to many clients: Mitzenmacher, "How Useful Is Old Information?", IEEE TPDS 11(1), 2000.
 */
import type { LoadReport } from '../protocol/packet.js';
import type { CandidateLoad } from './picker.js';

/** How fast an old answer is forgotten: after so long it counts by 1/e. */
const DECAY_MS = 10_000;
/**
 * A failure counts as an answer that took so many times as long as is usual in the service, and at least {@link FAILURE_MS}. Others have
 * many calls open where a node that fails at once has none, and their peaks count, so it has to be much.
 */
const FAILURE_FACTOR = 100;
const FAILURE_MS = 100;
/** The same for a node that takes no more calls for now. */
const BUSY_FACTOR = 10;
/** The mean of a node is one over about so many answers. */
const MEAN_ANSWERS = 20;
/** What is usual is an average over about so many answers. */
const USUAL_ANSWERS = 100;
/** Below this latencies are noise of the machine. */
const LEAST_MS = 0.1;
/** What a node that has just begun gets of the calls of an old one. */
const LEAST_SHARE = 0.1;
/** An event loop that is late by this much is as good as one more call that is open. */
const DELAY_MS = 10;
/** After so long without a word, what a node has said of itself no longer counts. */
const REPORT_MS = 10_000;

/** The calls of this client to all nodes of a service. */
export class ServiceLoad<Node> {
  /** Calls that have no end yet. */
  open = 0;
  /** The node of which an answer has come last, unless it is in its slow start. */
  answered: Node | undefined;
  /** How long answers take, whoever gives them, in ms; 0 while nothing is known. */
  usualMs = 0;

  /** `slowStartMs`: how long a new node gets fewer calls; 0 = none. */
  constructor(readonly slowStartMs = 0) {}

  /** An answer has come after `tookMs`. */
  observe(tookMs: number): void {
    this.usualMs = this.usualMs === 0 ? tookMs : this.usualMs + (tookMs - this.usualMs) / USUAL_ANSWERS;
  }
}

/** The calls of this client to one node. */
export class NodeLoad<Node> implements CandidateLoad {
  open = 0;
  private averageMs = 0;
  private averageAt = 0;
  private mean = 0;
  /** What the last report is worth beside the calls of this client. */
  private reported = 0;
  private reportedAt = 0;

  constructor(
    private readonly node: Node,
    private readonly service: ServiceLoad<Node>,
    /** Since when the node is there, on the clock of `performance.now()`; `-Infinity`: for long. */
    private since: number,
    private readonly weight: () => number,
  ) {}

  /** A call is given to the node. {@link end} must follow once. */
  begin(): void {
    this.open += 1;
    this.service.open += 1;
  }

  /** That call has ended. */
  end(): void {
    this.open -= 1;
    this.service.open -= 1;
  }

  /** An answer has come after `tookMs`. */
  answered(tookMs: number, nowMs: number): void {
    const { service } = this;
    if (nowMs - this.since >= service.slowStartMs) service.answered = this.node;
    service.observe(tookMs);
    this.observe(tookMs, nowMs);
  }

  /** An answer has come after `tookMs` from a node that was left out: what was known of it no longer holds, and it begins slowly. */
  recovered(tookMs: number, nowMs: number): void {
    this.since = nowMs;
    this.mean = tookMs;
    this.averageMs = tookMs;
    this.averageAt = nowMs;
  }

  /** A call has failed after `tookMs`. */
  failed(tookMs: number, nowMs: number): void {
    this.penalize(Math.max(tookMs, FAILURE_FACTOR * this.service.usualMs, FAILURE_MS), nowMs);
  }

  /** A call was turned away after `tookMs`, since there are too many. */
  busy(tookMs: number, nowMs: number): void {
    this.penalize(Math.max(tookMs, BUSY_FACTOR * this.service.usualMs), nowMs);
  }

  /**
   * The node has said how busy it is. The calls of others count by the logarithm of their number: they are known a heartbeat late,
   * and if all clients took them in full, all would rush to the node that was idle then.
   */
  heard({ open, delayMs }: LoadReport, nowMs: number): void {
    const others = Math.max(0, open - this.open);
    this.reported = Math.log2(1 + others) + delayMs / DELAY_MS;
    this.reportedAt = nowMs;
  }

  latencyMs(nowMs: number): number {
    if (this.averageMs === 0) return 0;
    return this.averageMs * Math.exp((this.averageAt - nowMs) / DECAY_MS);
  }

  meanMs(nowMs: number): number {
    return this.mean === 0 ? 0 : this.mean * Math.exp((this.averageAt - nowMs) / DECAY_MS);
  }

  cost(nowMs: number): number {
    // Of a node that has not answered yet nothing is expected but what is usual: if it looked fast, all calls would rush to it.
    const expected = this.averageMs === 0 ? this.service.usualMs : this.latencyMs(nowMs);
    const latency = Math.max(expected, LEAST_MS);
    return (latency * (this.open + 1 + this.reportedCalls(nowMs))) / (this.weight() * this.ramp(nowMs));
  }

  private penalize(asIfMs: number, nowMs: number): void {
    const { service } = this;
    if (service.answered === this.node) service.answered = undefined;
    this.observe(asIfMs, nowMs);
  }

  private observe(tookMs: number, nowMs: number): void {
    this.mean = this.mean === 0 ? tookMs : this.mean + (tookMs - this.mean) / MEAN_ANSWERS;
    const average = this.latencyMs(nowMs);
    if (tookMs >= average) this.averageMs = tookMs;
    else {
      // How much of the old average is left after the time since the last answer; the rest is the new one.
      const kept = Math.exp((this.averageAt - nowMs) / DECAY_MS);
      this.averageMs = this.averageMs * kept + tookMs * (1 - kept);
    }
    this.averageAt = nowMs;
  }

  private reportedCalls(nowMs: number): number {
    return nowMs - this.reportedAt > REPORT_MS ? 0 : this.reported;
  }

  private ramp(nowMs: number): number {
    const { slowStartMs } = this.service;
    const age = nowMs - this.since;
    return age >= slowStartMs ? 1 : Math.max(LEAST_SHARE, age / slowStartMs);
  }
}
