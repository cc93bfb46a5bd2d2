/** How calls end, as plain values that can be compared to the letter on both transports. */
import { types } from 'node:util';
import type { ClientProxy } from '@nestjs/microservices';
import type { Observable } from 'rxjs';
import { MeshError } from '../../lib/index.js';
import { pause } from '../support/eventually.js';

/** Everything that a caller is told. Without `error` and `hangs` it completed. */
export interface Outcome {
  readonly values: readonly unknown[];
  readonly error?: unknown;
  readonly hangs?: true;
}

/** What a caller that is never answered waits in vain after the answer to a later call of the same connection. */
const PATIENCE_MS = 60;

/** It completed after these values. */
export function got(...values: unknown[]): Outcome {
  return { values };
}

/** It failed after these values. */
export function failed(error: unknown, ...values: unknown[]): Outcome {
  return { values, error };
}

/** It said no more after these values. */
export function hung(...values: unknown[]): Outcome {
  return { values, hangs: true };
}

/** Nest's words for an error whose cause callers must not see. */
export const MASKED = { status: 'error', message: 'Internal server error' };

/** The answer to a call whose pattern nobody has. */
export const NO_HANDLER = 'There is no matching message handler defined in the remote service.';

/** Waits for the end; with `fence`, gives up once a later call was answered and this one still was not. */
export function outcomeOf(source: Observable<unknown>, fence?: () => Promise<unknown>): Promise<Outcome> {
  return new Promise((resolve) => {
    const values: unknown[] = [];
    const subscription = source.subscribe({
      next: (value) => values.push(value),
      error: (error: unknown) => resolve({ values, error: shown(error) }),
      complete: () => resolve({ values }),
    });
    void fence?.()
      .then(() => pause(PATIENCE_MS))
      .then(() => {
        subscription.unsubscribe();
        resolve({ values, hangs: true });
      });
  });
}

/** A call and how it ended. */
export function answer(client: ClientProxy, pattern: unknown, data: unknown = {}): Promise<Outcome> {
  return outcomeOf(client.send(pattern, data));
}

/** Calls one after the other, and how they ended. */
export async function answers(
  client: ClientProxy,
  patterns: readonly unknown[],
  data: unknown = {},
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const pattern of patterns) outcomes.push(await answer(client, pattern, data));
  return outcomes;
}

/** A call that may stay without an answer; the service needs the handler `fence`. */
export function answerOrHang(client: ClientProxy, pattern: unknown, data: unknown = {}): Promise<Outcome> {
  return outcomeOf(client.send(pattern, data), () => answer(client, 'fence'));
}

/** Errors as plain values: what a program can tell them apart by. */
export function shown(error: unknown): unknown {
  if (MeshError.is(error)) return { is: 'MeshError', code: error.code, delivery: error.delivery };
  if (!types.isNativeError(error) && !(error instanceof Error)) return error;
  const { code } = error as { code?: unknown };
  return { is: error.name, message: error.message, ...(code === undefined ? {} : { code }) };
}

/** What a promise came to: its value, or its error under `error`. */
export async function settled(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (error) {
    return { error: shown(error) };
  }
}
