/**
 * Sessions that go on reading. node:http2 stops to read while a write is under way. Where both sides write more than the sockets
 * hold, each would wait for the other for ever: then the socket is told to read although the write has not ended, which takes
 * what has come into memory, at most a window of it, and so lets the peer end its own write.
 */
import type { Http2Session } from 'node:http2';

/** What is used of the handle of a socket, which Node does not document. */
interface Handle {
  readStart(): unknown;
}

interface Watched {
  readonly handle: Handle;
  bytesRead: number;
}

/** How long nothing may have come before a session is told to read, in ms. One that reads already does not notice. */
const TICK_MS = 50;
/** Sockets of the operating system. Others are not known to bear it. */
const KINDS = new Set(['TCP', 'Pipe', 'TLSWrap']);

const watched = new Map<Http2Session, Watched>();
let timer: NodeJS.Timeout | undefined;

/** Sees to it that the session reads until it closes. False when that cannot be seen to: its window must not grow. */
export function keepReading(session: Http2Session): boolean {
  if (watched.has(session)) return true;
  if (session.destroyed) return false;
  const handle = handleOf(session);
  if (handle === undefined) return false;
  watched.set(session, { handle, bytesRead: session.socket.bytesRead });
  timer ??= setInterval(tick, TICK_MS).unref();
  session.once('close', () => {
    watched.delete(session);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  });
  return true;
}

function tick(): void {
  for (const [session, state] of watched) {
    if (session.destroyed) continue;
    const { bytesRead } = session.socket;
    if (bytesRead === state.bytesRead) state.handle.readStart();
    else state.bytesRead = bytesRead;
  }
}

function handleOf(session: Http2Session): Handle | undefined {
  const { _handle: handle } = session.socket as { _handle?: Partial<Handle> };
  const known = handle !== undefined && handle !== null && KINDS.has(handle.constructor.name);
  return known && typeof handle.readStart === 'function' ? (handle as Handle) : undefined;
}
