/** What a caller streams, as an Observable: for handlers that ask for one by `{ input: 'observable' }`. */
import type { MessageHandler } from '@nestjs/microservices';
import { Observable, of } from 'rxjs';

/** The same handler, for which a stream of input is an Observable; a caller that gives plain data is a stream of one value. */
export function takingObservable(handler: MessageHandler): MessageHandler {
  const wrapped: MessageHandler = (data: unknown, context: unknown) =>
    handler(isAsyncIterable(data) ? observableOf(data) : of(data), context);
  return wrapped;
}

/**
 * The values as they come: an Observable cannot hold its source back. Unsubscribing stops reading, and with it the caller. A
 * stream has one reader, so a second subscription gets what the first one has left.
 */
function observableOf(values: AsyncIterable<unknown>): Observable<unknown> {
  return new Observable((subscriber) => {
    const reader = values[Symbol.asyncIterator]();
    const read = async (): Promise<void> => {
      try {
        for (;;) {
          const result = await reader.next();
          if (subscriber.closed) return;
          if (result.done === true) break;
          subscriber.next(result.value);
        }
        subscriber.complete();
      } catch (error) {
        subscriber.error(error);
      }
    };
    void read();
    return () => {
      void reader.return?.();
    };
  });
}

function isAsyncIterable(data: unknown): data is AsyncIterable<unknown> {
  return typeof data === 'object' && data !== null && Symbol.asyncIterator in data;
}
