/** What a channel handler gives back: values to send, or nothing. */
import { isObservable, type Observable } from 'rxjs';
import { MeshError } from '../protocol/mesh-error.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { isStream, type ReplyLogger } from './replies.js';

/** Runs a channel handler to its end: sends what it yields, and ends or closes the channel as the handler did. */
export async function serveChannel(
  raw: RawChannel,
  handle: () => unknown,
  logger: ReplyLogger,
): Promise<void> {
  try {
    const result = await handle();
    if (isObservable(result)) await sendAll(raw, result);
    else if (isStream(result)) {
      for await (const value of result) await raw.send(value);
      raw.end();
    } else if (raw.inputEnded) raw.end();
    // Otherwise the handler goes on by itself, for example in a subscription to `values$`.
  } catch (error) {
    if (!raw.writable) return;
    logger.error(
      `a channel handler failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    raw.close(MeshError.is(error) ? error : new MeshError('INTERNAL', 'the channel handler failed'));
  }
}

function sendAll(raw: RawChannel, source: Observable<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const subscription = source.subscribe({
      next: (value) => void raw.send(value).catch(reject),
      error: (error: unknown) => reject(asError(error)),
      complete: () => {
        raw.end();
        resolve();
      },
    });
    void raw.whenClosed.then(() => {
      subscription.unsubscribe();
      resolve();
    });
  });
}

/** Nest's filters give payloads, not errors. */
function asError(error: unknown): Error {
  if (error instanceof Error) return error;
  const message = (error as { message?: unknown } | null)?.message;
  return new MeshError('INTERNAL', typeof message === 'string' ? message : 'the channel handler failed');
}
