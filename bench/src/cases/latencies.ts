/** Times of single calls, kept without allocating for each, and their percentiles. */
import type { Latency } from './case.js';

/** Collects durations. */
export class Latencies {
  private values = new Float64Array(1 << 16);
  private count = 0;

  add(ms: number): void {
    if (this.count === this.values.length) {
      const larger = new Float64Array(this.values.length * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count] = ms;
    this.count += 1;
  }

  /** In microseconds. */
  summary(): Latency {
    const sorted = this.values.subarray(0, this.count).sort();
    const at = (share: number): number =>
      Math.round((sorted[Math.min(this.count - 1, Math.floor(share * this.count))] ?? 0) * 1e4) / 10;
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) };
  }
}
