/**
 * Which calls are made again, and when: by default only those that provably did not run, on another node, after a wait of full jitter,
 * within the time limit of the call.
 *
 * Sources: gRFC A6 (transparent retries, pushback); Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
 */
import { MeshError } from '../protocol/mesh-error.js';

/** How calls are repeated. */
export interface RetryOptions {
  /** How often a call is made at the most, the first time included; 1 = never again. @default 3 */
  readonly attempts: number;
  /** The first wait is between 0 and this, in ms; it doubles each time. @default 20 */
  readonly baseMs: number;
  /** The longest wait, in ms. @default 1_000 */
  readonly maxMs: number;
}

export const DEFAULT_RETRY: RetryOptions = { attempts: 3, baseMs: 20, maxMs: 1_000 };

/** What is known when a call has failed. */
export interface FailedAttempt {
  readonly error: MeshError;
  /** How often it was made. */
  readonly attempts: number;
  /** What is left of its time, in ms; `Infinity` without a limit. */
  readonly leftMs: number;
  /** True when it may run twice. Asked only where that counts. */
  readonly idempotent: () => boolean;
}

/** How long to wait before the call is made again, in ms; `undefined`: it is not. */
export function retryDelayMs(
  { attempts: most, baseMs, maxMs }: RetryOptions,
  { error, attempts, leftMs, idempotent }: FailedAttempt,
  random: () => number = Math.random,
): number | undefined {
  if (attempts >= most) return undefined;
  const hintMs = retryAfterMs(error);
  // Without the hint of its peer, what is too much will be too much again: a message over a limit.
  if (error.code !== 'UNAVAILABLE' && !(error.code === 'RESOURCE_EXHAUSTED' && hintMs !== undefined))
    return undefined;
  if (error.delivery === 'unknown' && !idempotent()) return undefined;
  const delayMs = (hintMs ?? 0) + random() * Math.min(maxMs, baseMs * 2 ** (attempts - 1));
  return delayMs < leftMs ? delayMs : undefined;
}

/** How long a peer that is too busy asks its callers to wait, in ms; `undefined` when it says nothing. */
export function retryAfterMs({ details }: MeshError): number | undefined {
  const hint = details?.['retryAfterMs'];
  return typeof hint === 'number' && hint >= 0 && Number.isFinite(hint) ? hint : undefined;
}
