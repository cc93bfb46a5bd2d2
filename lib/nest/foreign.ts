/** Code of others, called where nothing of ours would catch what it throws. */

/** Runs `step`; `onError` is told what it throws, at once or as a rejected promise. */
export function guard(step: () => unknown, onError: (error: unknown) => void): void {
  try {
    const outcome = step();
    if (isPromiseLike(outcome)) outcome.then(undefined, onError);
  } catch (error) {
    onError(error);
  }
}

/** True for promises, also those of other libraries. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
