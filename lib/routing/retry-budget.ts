/**
 * What a client may spend on repeated calls to one service: a share of the calls that it makes, and a few each second on top, so that
 * retries never make of an outage a worse one.
 *
 * Source: `RetryBudget` of Finagle and Linkerd (20 %, and 10 a second); gRFC A6 throttles by a bucket of tokens as well.
 */

/** How much may be spent. */
export interface RetryBudgetOptions {
  /** Share of the calls that may be repeated. @default 0.2 */
  readonly share: number;
  /** So many more each second, for clients with few calls. @default 10 */
  readonly perSecond: number;
}

export const DEFAULT_RETRY_BUDGET: RetryBudgetOptions = { share: 0.2, perSecond: 10 };

/** What calls have earned is kept up to so many repeats. */
const MOST_KEPT = 1_000;

export class RetryBudget {
  private earned = 0;
  private reserve: number;
  private filledAt: number;

  constructor(
    private readonly options: RetryBudgetOptions,
    /** In ms, on the clock of `performance.now()`. */
    private readonly now: () => number = () => performance.now(),
  ) {
    this.reserve = options.perSecond;
    this.filledAt = now();
  }

  /** A call is made for the first time. */
  deposit(): void {
    if (this.earned < MOST_KEPT) this.earned += this.options.share;
  }

  /** Takes what one repeated call costs; false when there is not as much left. */
  withdraw(): boolean {
    if (this.earned >= 1) {
      this.earned -= 1;
      return true;
    }
    const { perSecond } = this.options;
    const now = this.now();
    this.reserve = Math.min(perSecond, this.reserve + ((now - this.filledAt) / 1_000) * perSecond);
    this.filledAt = now;
    if (this.reserve < 1) return false;
    this.reserve -= 1;
    return true;
  }
}
