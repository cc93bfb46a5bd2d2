/** What a channel handler gives back: values to send, or nothing. */
import { isObservable, type Observable } from 'rxjs';
import { MeshError } from '../protocol/mesh-error.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { isStream } from './iterable-reply.js';
import type { ReplyLogger } from './reply-errors.js';

/** Runs a channel handler to its end: sends what it yields, and ends or closes the channel as the handler did. */
export async function serveChannel(
  raw: RawChannel,
  handle: () => unknown,
  logger: ReplyLogger,
): Promise<void> {
  try {
    const sends = await sendResult(raw, await handle());
    // A handler without values may go on by itself, for example in a subscription to `values$`.
    if (sends || raw.inputEnded) raw.end();
  } catch (error) {
    const failure = asError(error);
    // That the peer has left is no fault of the handler.
    if (raw.writable || failure.code !== 'UNAVAILABLE')
      logger.error(`a channel handler failed: ${describe(error)}`);
    raw.close(failure);
  }
}

/** Sends what is there to send; false when the handler gave nothing, which behind an interceptor is an Observable of it. */
async function sendResult(raw: RawChannel, result: unknown): Promise<boolean> {
  if (isObservable(result)) return sendObservable(raw, result);
  if (!isStream(result)) return false;
  for await (const value of result) await raw.send(value);
  return true;
}

function sendObservable(raw: RawChannel, source: Observable<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let values = 0;
    let nothings = 0;
    let sent: Promise<unknown> = Promise.resolve();
    const subscription = source.subscribe({
      next: (value) => {
        if (value === undefined) {
          nothings += 1;
          return;
        }
        values += 1;
        // Iterables keep their place among the values; all others leave at once.
        const sending = isStream(value) ? sent.then(() => sendResult(raw, value)) : raw.send(value);
        sent = Promise.all([sent, sending]);
        sent.catch(reject);
      },
      error: (error: unknown) => reject(asError(error)),
      complete: () => void sent.then(() => resolve(values > 0 || nothings === 0), reject),
    });
    void raw.whenClosed.then(() => {
      subscription.unsubscribe();
      resolve(true);
    });
  });
}

/** What a peer may be told: Nest's filters have made a payload of what was thrown; what they have not seen is masked. */
function asError(error: unknown): MeshError {
  if (MeshError.is(error)) return error;
  const message = error instanceof Error ? undefined : (error as { message?: unknown } | null)?.message;
  return new MeshError('INTERNAL', typeof message === 'string' ? message : 'the channel handler failed', {
    cause: error,
  });
}

function describe(error: unknown): string {
  const cause = MeshError.is(error) ? (error.cause ?? error) : error;
  if (cause instanceof Error) return cause.stack ?? cause.message;
  return JSON.stringify(cause) ?? typeof cause;
}
