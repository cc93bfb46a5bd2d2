/** Full jitter: every delay lies between 0 and a bound that doubles up to a limit. */
import { describe, expect, it } from '@jest/globals';
import { DEFAULT_BACKOFF, fullJitterMs } from '../../lib/transport/backoff.js';

describe('Backoff with full jitter', () => {
  it('doubles the upper bound with each attempt until the limit', () => {
    const bounds = [0, 1, 2, 3, 4, 5, 6, 7].map((attempt) =>
      fullJitterMs(attempt, { baseMs: 100, maxMs: 5_000 }, () => 1),
    );
    expect(bounds).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  it('reaches down to 0 at every attempt', () => {
    for (const attempt of [0, 5, 50]) expect(fullJitterMs(attempt, DEFAULT_BACKOFF, () => 0)).toBe(0);
  });

  it('is even in what it draws', () => {
    expect(fullJitterMs(3, { baseMs: 100, maxMs: 5_000 }, () => 0.25)).toBe(200);
  });

  it('never passes the limit, however often it was tried', () => {
    for (const attempt of [31, 1_000, Number.MAX_SAFE_INTEGER]) {
      expect(fullJitterMs(attempt, { baseMs: 100, maxMs: 5_000 }, () => 1)).toBe(5_000);
    }
  });

  it('keeps to the limit when that is below the base', () => {
    expect(fullJitterMs(0, { baseMs: 100, maxMs: 10 }, () => 1)).toBe(10);
  });
});
