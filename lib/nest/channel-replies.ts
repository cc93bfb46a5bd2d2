/** What a channel handler gives back: values to send, or nothing. */
import { isObservable, type Observable } from 'rxjs';
import { isRecord } from '../protocol/handler-error.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { unaryFailureOf } from '../transport/unary-answer.js';
import { isStream } from './iterable-reply.js';
import { callText, filtered, unfiltered, type Failing, type Failure } from './reply-errors.js';

/** Thrown on the way to the peer or out of an iterable, which Nest's filters have not seen. */
class Unfiltered extends Error {
  constructor(readonly error: unknown) {
    super('a channel handler failed', { cause: error });
  }
}

/** Runs a channel handler to its end: sends what it yields, and ends or closes the channel as the handler did. */
export async function serveChannel(raw: RawChannel, handle: () => unknown, failing: Failing): Promise<void> {
  raw.hold();
  try {
    const sends = await sendResult(raw, await handle());
    // A handler without values may go on by itself, for example in a subscription to `values$`.
    if (sends || raw.inputEnded) raw.end();
    raw.release();
  } catch (error) {
    if (isGone(raw, error)) raw.release();
    else {
      const failure =
        error instanceof Unfiltered ? unfiltered(failing, error.error) : filtered(failing, error);
      if (failure.errorId === undefined) {
        const { call, peer, kind, logger } = failing;
        logger.error(`${callText(call.pattern, peer, kind)} failed: ${JSON.stringify(failure.err)}`);
      }
      raw.release(asError(failure), failure.errorId);
    }
  }
}

/** That the peer has left is no fault of the handler. */
function isGone(raw: RawChannel, error: unknown): boolean {
  const cause = error instanceof Unfiltered ? error.error : error;
  return !raw.writable && MeshError.is(cause) && cause.code === 'UNAVAILABLE';
}

/** Sends what is there to send; false when the handler gave nothing, which behind an interceptor is an Observable of it. */
async function sendResult(raw: RawChannel, result: unknown): Promise<boolean> {
  if (isObservable(result)) return sendObservable(raw, result);
  if (!isStream(result)) return false;
  try {
    for await (const value of result) await raw.send(value);
  } catch (error) {
    throw new Unfiltered(error);
  }
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
        const sending = isStream(value)
          ? sent.then(() => sendResult(raw, value))
          : raw.send(value).catch((error: unknown) => Promise.reject(new Unfiltered(error)));
        sent = Promise.all([sent, sending]);
        sent.catch(reject);
      },
      error: reject,
      complete: () => void sent.then(() => resolve(values > 0 || nothings === 0), reject),
    });
    void raw.whenClosed.then(() => {
      subscription.unsubscribe();
      resolve(true);
    });
  });
}

/** A channel carries values of any shape, so what went wrong is always told as a `MeshError`. */
function asError({ err, errorId }: Failure): MeshError {
  const { code, message, details } = unaryFailureOf(err, errorId).error;
  return new MeshError(code, message, isRecord(details) ? { details } : {});
}
