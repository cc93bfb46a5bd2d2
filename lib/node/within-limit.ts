/** Waiting for a promise that knows no limit of its own, within the limit of a call. */
import { MeshError } from '../protocol/mesh-error.js';
import type { NodeWait } from './pending.js';

/**
 * Resolves or rejects with `promise`. Rejects with a `MeshError` (`not-sent`) when it takes too long: `UNAVAILABLE` after
 * `timeoutMs` (0 = never), in the words of `why`, or `CANCELLED` when the signal aborts.
 */
export async function withinLimit(
  promise: Promise<void>,
  { what, timeoutMs, signal }: NodeWait,
  why: () => string,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const limit = new Promise<never>((_, reject) => {
    const give = (error: MeshError): void => reject(error.at({ pattern: what }));
    onAbort = () =>
      give(
        new MeshError('CANCELLED', `'${what}' could not be sent: its signal was aborted`, {
          delivery: 'not-sent',
          cause: signal?.reason,
        }),
      );
    if (signal?.aborted === true) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeoutMs > 0) {
      timer = setTimeout(() => {
        const message = `'${what}' could not be sent within ${timeoutMs} ms (timeoutMs): ${why()}`;
        give(new MeshError('UNAVAILABLE', message, { delivery: 'not-sent' }));
      }, timeoutMs);
    }
  });
  try {
    await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}
