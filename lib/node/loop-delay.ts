/** How late the event loop of this process is. One measurement serves all nodes of the process, and runs only while one of them wants it. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';

/** A timer of the runtime fires so often; how much later than that it does is the delay. */
const RESOLUTION_MS = 20;
const NS_PER_MS = 1e6;

let histogram: IntervalHistogram | undefined;
let users = 0;

/** What one node sees of it. */
export class LoopDelay {
  private running = false;
  private count = 0;
  private sumMs = 0;

  /** Begins to measure, if it does not yet. */
  start(): void {
    if (this.running) return;
    this.running = true;
    users += 1;
    histogram ??= monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    if (users === 1) histogram.enable();
    this.meanMs();
  }

  /** No longer measures. */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    users -= 1;
    if (users === 0) histogram?.disable();
  }

  /** The mean delay since it was asked for last, in ms; 0 when nothing was measured. */
  meanMs(): number {
    if (histogram === undefined || histogram.count === 0) return 0;
    const { count } = histogram;
    const sumMs = (count * histogram.mean) / NS_PER_MS;
    const newCount = count - this.count;
    const newSumMs = sumMs - this.sumMs;
    this.count = count;
    this.sumMs = sumMs;
    return newCount <= 0 ? 0 : Math.max(0, newSumMs / newCount - RESOLUTION_MS);
  }
}
