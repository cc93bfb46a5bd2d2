/** How calls fared over time, by the moment at which they were sent. */
import type { Entry } from './ledger.js';

/** All calls that were sent within {@link SLOT_MS}. */
export interface Slot {
  /** In ms from the first call. */
  readonly at: number;
  readonly answered: number;
  readonly failed: number;
  /** Percentiles of the time until the answer or the error, in ms. Events that wait for nothing are left out. */
  readonly p50: number;
  readonly p99: number;
}

export const SLOT_MS = 250;
/** Calls are back to normal below this multiple of what was usual, or below the least. */
const USUAL_MULTIPLE = 5;
const LEAST_MS = 100;

/** The slots from the first call to the last, without gaps. */
export function timelineOf(entries: readonly Entry[], from: number): Slot[] {
  const groups: (Entry[] | undefined)[] = [];
  for (const entry of entries) (groups[Math.floor((entry.sentAt - from) / SLOT_MS)] ??= []).push(entry);
  return Array.from(groups, (group = [], index) => {
    const times = group
      .filter(({ kind }) => kind !== 'event')
      .map(({ tookMs }) => tookMs)
      .sort((a, b) => a - b);
    const answered = group.filter(({ outcome }) => outcome === 'ok').length;
    return {
      at: index * SLOT_MS,
      answered,
      failed: group.length - answered,
      p50: percentile(times, 0.5),
      p99: percentile(times, 0.99),
    };
  });
}

/**
 * From `fromMs` until the last slot in which calls failed or took much longer than before `faultAt`; `undefined` when there is none.
 */
export function recoveryMs(slots: readonly Slot[], faultAt: number, fromMs = faultAt): number | undefined {
  const before = slots.filter(({ at }) => at + SLOT_MS <= faultAt).map(({ p99 }) => p99);
  const usual = percentile(
    before.sort((a, b) => a - b),
    0.5,
  );
  const bound = Math.max(LEAST_MS, USUAL_MULTIPLE * usual);
  const bad = slots.filter(({ at, failed, p99 }) => at + SLOT_MS > fromMs && (failed > 0 || p99 > bound));
  const last = bad.at(-1);
  return last === undefined ? undefined : last.at + SLOT_MS - fromMs;
}

/** Of sorted values; 0 when there are none. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
