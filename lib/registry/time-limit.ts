/** Waits for a store only so long: a half-open connection or a hung file system never answers. */
import { MeshError } from '../protocol/mesh-error.js';
import type { RegistryClock } from './registry-clock.js';

/**
 * What `work` gives, or a `MeshError` UNAVAILABLE after `limitMs`, or at once when `signal` is aborted. `work` itself goes
 * on; what becomes of it then is dropped.
 */
export function withinTime<T>(
  clock: RegistryClock,
  limitMs: number,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const fail = (why: string) => () => reject(new MeshError('UNAVAILABLE', why, { delivery: 'not-sent' }));
    const cancelTimer = clock.setTimer(limitMs, fail(`no answer within ${limitMs} ms (registryTimeoutMs)`));
    const onAbort = fail('it was closed');
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    void work.then(resolve, reject).finally(() => {
      cancelTimer();
      signal?.removeEventListener('abort', onAbort);
    });
  });
}
