/** Waiting for what happens in its own time: conditions are asked for again and again, since no event tells of them. */

const LOOK_EVERY_MS = 5;

/** Resolves with what `look` gives once that is truthy; fails with `what` (and the last error of `look`) after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 5_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let fault: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      fault = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`, fault === undefined ? {} : { cause: fault });
    }
    await pause(LOOK_EVERY_MS);
  }
}

/** Lets real time pass, where a test says what does or does not happen meanwhile. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Fails when `promise` takes longer than `limitMs`: a hang becomes a clear failure. */
export async function within<T>(promise: Promise<T>, limitMs: number, what = 'the promise'): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not settle within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** True when the promise has not settled after `afterMs`. */
export async function stillPending(promise: Promise<unknown>, afterMs: number): Promise<boolean> {
  const waiting = Symbol('waiting');
  const first = await Promise.race([promise.catch(() => undefined), pause(afterMs).then(() => waiting)]);
  return first === waiting;
}
