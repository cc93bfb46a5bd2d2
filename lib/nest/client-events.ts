/** The event side of the client: hot, and loud about what is lost, since nobody need listen. */
import { connectable, defer, Subject, type Observable } from 'rxjs';

/** Told of the losses. */
export interface LossLogger {
  error(message: string): void;
}

/** Dispatches an event at once, whether or not somebody subscribes; says so when that fails. */
export function emitHot<T>(pattern: unknown, dispatch: () => Promise<T>, logger: LossLogger): Observable<T> {
  const source = defer(async () => {
    try {
      return await dispatch();
    } catch (error) {
      // Nobody need subscribe to an event.
      const fate = error instanceof Error ? `was lost: ${error.message}` : `failed: ${safeString(error)}`;
      logger.error(`the event ${safeString(pattern)} ${fate}`);
      throw error;
    }
  });
  const hot = connectable(source, { connector: () => new Subject<T>(), resetOnDisconnect: false });
  hot.connect();
  return hot;
}

function safeString(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}
