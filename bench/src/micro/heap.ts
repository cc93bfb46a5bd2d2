/** How much of JavaScript's heap a function takes. */
import { getHeapStatistics } from 'node:v8';

/** Few at a time, so that in most samples no garbage is collected. */
const RUNS = 16;
const SAMPLES = 41;

/** Bytes for one run, what is garbage at once included; the median, since a collection spoils a sample. */
export function heapBytesOf(run: () => unknown): number {
  // The measuring itself takes some.
  return Math.max(0, medianOf(run) - medianOf(() => undefined)) / RUNS;
}

function medianOf(run: () => unknown): number {
  const samples = Array.from({ length: SAMPLES }, () => {
    const before = getHeapStatistics().used_heap_size;
    for (let n = 0; n < RUNS; n += 1) run();
    return getHeapStatistics().used_heap_size - before;
  });
  return samples.sort((a, b) => a - b)[SAMPLES >> 1] ?? 0;
}
