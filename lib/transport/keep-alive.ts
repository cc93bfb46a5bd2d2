/** Keep-alive: HTTP/2 PINGs (RFC 9113, section 6.7) that notice a peer which is gone without having said so. */
import type { Http2Session } from 'node:http2';
import { MeshError } from '../protocol/mesh-error.js';

/** When to ask, and how long to wait for the answer. */
export interface KeepAliveOptions {
  /** Time between PINGs in ms; 0 switches keep-alive off. @default 10_000 */
  readonly intervalMs: number;
  /** How long a PING may stay unanswered, in ms. @default 5_000 */
  readonly timeoutMs: number;
}

export const DEFAULT_KEEP_ALIVE: KeepAliveOptions = { intervalMs: 10_000, timeoutMs: 5_000 };

/** Pings until the session closes; calls `onDead` once when an answer stays out. */
export function keepAlive(
  session: Http2Session,
  options: KeepAliveOptions,
  onDead: (error: MeshError) => void,
): void {
  if (options.intervalMs === 0) return;
  let waiting = false;
  let deadTimer: NodeJS.Timeout | undefined;
  const pingTimer = setInterval(() => {
    if (waiting || session.destroyed || session.connecting) return;
    waiting = session.ping(() => {
      clearTimeout(deadTimer);
      waiting = false;
    });
    if (waiting) watch(bytesRead(session));
  }, options.intervalMs).unref();
  session.once('close', stop);

  function watch(bytesBefore: number): void {
    deadTimer = setTimeout(() => {
      // This side may have been the busy one: what has arrived meanwhile is read before it is judged.
      setImmediate(() => {
        if (!waiting || session.destroyed) return;
        const bytes = bytesRead(session);
        // The answer may wait behind other bytes; a peer that sends any is not dead.
        if (bytes > bytesBefore) watch(bytes);
        else dead();
      });
    }, options.timeoutMs).unref();
  }
  function dead(): void {
    stop();
    onDead(
      new MeshError(
        'UNAVAILABLE',
        `no answer to a keep-alive PING within ${options.timeoutMs} ms (keepAlive.timeoutMs)`,
      ),
    );
  }
  function stop(): void {
    clearInterval(pingTimer);
    clearTimeout(deadTimer);
  }
}

function bytesRead(session: Http2Session): number {
  return session.destroyed ? 0 : session.socket.bytesRead;
}
