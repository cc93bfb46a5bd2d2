/** The common beat of a registry: heartbeats and looks that fall on one instant reach the store in one write. */
import type { RegistryClock } from './registry-clock.js';

/** Each interval is the mean one times a random factor from 0.9 to 1.1, so that many nodes do not beat in step. */
const JITTER = 0.1;

/** Instants at jittered intervals. Its timer runs only while somebody waits. */
export class Pulse {
  private readonly waiting = new Set<() => void>();
  private cancelTimer: (() => void) | undefined;
  private nextAt: number | undefined;

  constructor(
    private readonly intervalMs: number,
    private readonly clock: RegistryClock,
  ) {}

  /** Calls `task` once, at the next instant; returns the way to stop that. */
  wait(task: () => void): () => void {
    // An object of its own, so that the same function may wait twice.
    const entry = (): void => task();
    this.waiting.add(entry);
    this.cancelTimer ??= this.clock.setTimer(this.untilNextMs(), () => this.beat());
    return () => {
      this.waiting.delete(entry);
      if (this.waiting.size > 0) return;
      this.cancelTimer?.();
      this.cancelTimer = undefined;
    };
  }

  private beat(): void {
    this.cancelTimer = undefined;
    // Over, even if the timer was a moment early by the clock: else the next instant would be this one.
    this.nextAt = undefined;
    const tasks = [...this.waiting];
    this.waiting.clear();
    for (const task of tasks) task();
  }

  private untilNextMs(): number {
    const now = this.clock.now();
    // Also when the clock was set back by more than an interval.
    if (this.nextAt === undefined || this.nextAt <= now || this.nextAt > now + 2 * this.intervalMs) {
      this.nextAt = now + this.intervalMs * (1 - JITTER + 2 * JITTER * this.clock.random());
    }
    return this.nextAt - now;
  }
}
