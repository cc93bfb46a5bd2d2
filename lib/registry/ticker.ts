/** Runs one task again and again: at each pulse, sooner when asked, never twice at once. */
import type { Pulse } from './pulse.js';
import type { RegistryClock } from './registry-clock.js';

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
    private readonly pulse: Pulse,
    private readonly clock: RegistryClock,
  ) {}

  /** Runs the task now; when it runs already, once more afterwards. */
  soon(): void {
    if (this.stopped) return;
    if (this.running !== undefined) this.again = true;
    else this.schedule(Math.max(0, this.endedAt + SPACING_MS - this.clock.now()));
  }

  /** Runs the task at the next pulse. */
  later(): void {
    if (this.stopped || this.running !== undefined) return;
    this.cancelTimer?.();
    this.cancelTimer = this.pulse.wait(() => {
      this.cancelTimer = undefined;
      this.soon();
    });
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
    this.running = this.task().then(() => {
      this.running = undefined;
      this.endedAt = this.clock.now();
      if (!this.again) return this.later();
      this.again = false;
      this.soon();
    });
  }
}
