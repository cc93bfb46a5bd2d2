/** The event side of the client: hot, and loud about what is lost, since nobody need listen. */
import { connectable, Observable, Subject } from 'rxjs';
import { HANDED_OVER } from '../node/outbound-events.js';

/** Told of the losses. */
export interface LossLogger {
  error(message: string): void;
}

/** What was emitted when it was handed over at once: all that there is to say, to whoever subscribes. */
const SENT = new Observable<undefined>((subscriber) => {
  queueMicrotask(() => {
    subscriber.next(undefined);
    subscriber.complete();
  });
});

/** Dispatches an event at once, whether or not somebody subscribes; says so when that fails. */
export function emitHot<T>(
  pattern: unknown,
  dispatch: () => Promise<T>,
  logger: LossLogger,
): Observable<T | undefined> {
  let outcome: Promise<T>;
  try {
    outcome = dispatch();
  } catch (error) {
    outcome = Promise.reject(error);
  }
  return outcome === HANDED_OVER ? SENT : hot(pattern, outcome, logger);
}

function hot<T>(pattern: unknown, outcome: Promise<T>, logger: LossLogger): Observable<T> {
  const told = outcome.catch((error: unknown) => {
    // Nobody need subscribe to an event.
    const fate = error instanceof Error ? `was lost: ${error.message}` : `failed: ${safeString(error)}`;
    logger.error(`the event ${safeString(pattern)} ${fate}`);
    throw error;
  });
  const source = connectable(told, { connector: () => new Subject<T>(), resetOnDisconnect: false });
  source.connect();
  return source;
}

function safeString(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}
