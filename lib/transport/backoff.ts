/**
 * Exponential backoff with full jitter.
 *
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of the variants compared there, a delay drawn
 * evenly from [0, base * 2^attempt] gives the fewest calls when many clients come back at once.
 */

/** How long to wait between attempts. */
export interface BackoffOptions {
  /** Upper bound of the first delay, in ms. @default 100 */
  readonly baseMs: number;
  /** Upper bound of every delay, in ms. @default 5_000 */
  readonly maxMs: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 100, maxMs: 5_000 };

/** The delay before attempt `attempt` (0 for the first repetition), in ms. */
export function fullJitterMs(
  attempt: number,
  options: BackoffOptions = DEFAULT_BACKOFF,
  random: () => number = Math.random,
): number {
  return random() * Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt, 30));
}
