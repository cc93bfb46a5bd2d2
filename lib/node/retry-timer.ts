/** When a node that could not be reached is tried again. */
import { fullJitterMs, type BackoffOptions } from '../transport/backoff.js';

export class RetryTimer {
  private failures = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly backoff: BackoffOptions,
    private readonly retry: () => void,
  ) {}

  /** True while the next attempt is waited for. */
  get waiting(): boolean {
    return this.timer !== undefined;
  }

  /** Retries after a while, which is the longer the more attempts have failed since {@link succeeded}. */
  start(): void {
    if (this.timer !== undefined) return;
    const delayMs = fullJitterMs(this.failures, this.backoff);
    this.failures += 1;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.retry();
    }, delayMs).unref();
  }

  /** The node is reached: the next time begins with the shortest delay. */
  succeeded(): void {
    this.failures = 0;
  }

  /** Waits for no attempt any more. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
