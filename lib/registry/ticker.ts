/** Runs one task again and again: at jittered intervals, sooner when asked, never twice at once. */
import type { RegistryClock } from './registry-clock.js';

/** Each interval is the mean one times a random factor from 0.9 to 1.1, so that many nodes do not beat in step. */
const JITTER = 0.1;
/** Asked for again and again, a task still runs at most once in this time. */
const SPACING_MS = 25;

/** A repeated task. It begins when {@link Ticker.soon} or {@link Ticker.later} is called first. */
export class Ticker {
  private cancelTimer: (() => void) | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private endedAt = -Infinity;

  /** @param task must not reject: what goes wrong is its own to report. */
  constructor(
    private readonly task: () => Promise<void>,
    private readonly intervalMs: number,
    private readonly clock: RegistryClock,
  ) {}

  /** Runs the task now; when it runs already, once more afterwards. */
  soon(): void {
    if (this.stopped) return;
    if (this.running !== undefined) this.again = true;
    else this.schedule(Math.max(0, this.endedAt + SPACING_MS - this.clock.now()));
  }

  /** Runs the task one interval from now. */
  later(): void {
    if (!this.stopped && this.running === undefined) this.schedule(this.jitteredIntervalMs());
  }

  /** No run begins any more; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    await this.running;
  }

  private schedule(delayMs: number): void {
    this.cancelTimer?.();
    if (delayMs <= 0) {
      this.cancelTimer = undefined;
      this.run();
    } else {
      this.cancelTimer = this.clock.setTimer(delayMs, () => this.run());
    }
  }

  private run(): void {
    this.cancelTimer = undefined;
    const startedAt = this.clock.now();
    this.running = this.task().then(() => {
      this.running = undefined;
      this.endedAt = this.clock.now();
      if (this.stopped) return;
      const wanted = this.again ? SPACING_MS : this.jitteredIntervalMs() - (this.endedAt - startedAt);
      this.again = false;
      this.schedule(Math.max(SPACING_MS, wanted));
    });
  }

  private jitteredIntervalMs(): number {
    return this.intervalMs * (1 - JITTER + 2 * JITTER * this.clock.random());
  }
}
