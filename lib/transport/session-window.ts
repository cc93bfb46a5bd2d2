/**
 * The window of a session: it grows with what a round trip can carry (the bandwidth-delay product), measured by PINGs while data
 * comes in, as gRPC does.
 */
import type { Http2Session } from 'node:http2';
import { keepReading } from './stuck-reads.js';

/**
 * How much all streams of a session together may send ahead of what the peer takes off its socket. node:http2 does not read
 * while a write is under way; where both sides write more than the sockets hold between them, neither would ever read again.
 */
export const SESSION_WINDOW_BYTES = 256 * 1024;
/** How far the window grows; up to here {@link keepReading} costs little where both sides write that much at once. */
export const MAX_SESSION_WINDOW_BYTES = 4 * 1024 * 1024;

/** Over a shorter way the first window carries more than a process reads. */
const MIN_ROUND_TRIP_MS = 2;
/** From this part of the window on within a round trip it is the window that holds the peer back: it is given back by halves. */
const LIMITING_SHARE = 0.4;
const FIRST_PROBE_BYTES = SESSION_WINDOW_BYTES / 2;
const MAX_PROBE_BYTES = 8 * 1024 * 1024;

const windows = new WeakMap<Http2Session, SessionWindow>();

/** The window is no SETTING (RFC 9113, section 6.9.2): each side widens its own after connecting. */
export function widenSessionWindow(session: Http2Session): void {
  session.setLocalWindowSize(SESSION_WINDOW_BYTES);
  windows.set(session, new SessionWindow(session));
}

/** `undefined` for a session that was not widened. */
export function windowOf(session: Http2Session | undefined): SessionWindow | undefined {
  return session && windows.get(session);
}

export class SessionWindow {
  private size = SESSION_WINDOW_BYTES;
  private received = 0;
  /** The next PING leaves when this much was received; the first with the first bytes, while nothing delays it yet. */
  private probeAt = 1;
  private probeEvery = FIRST_PROBE_BYTES;
  private roundTripMs = Infinity;
  private fixed = false;

  constructor(private readonly session: Http2Session) {}

  /** Bytes of a stream have come. */
  onData(bytes: number): void {
    this.received += bytes;
    if (this.received >= this.probeAt && !this.fixed) this.probe();
  }

  private probe(): void {
    this.probeAt = Infinity;
    this.ping(() => {
      // What a full window lets come arrives right behind the answer, so a round trip is counted from one answer to the next.
      const before = this.received;
      this.ping(() => {
        this.fit(this.received - before);
        this.probeAt = this.received + this.probeEvery;
      });
    });
  }

  private ping(onAnswer: () => void): void {
    if (this.session.destroyed) return;
    this.session.ping((error: Error | null, durationMs: number) => {
      if (error !== null) return;
      this.roundTripMs = Math.min(this.roundTripMs, durationMs);
      onAnswer();
    });
  }

  /** So much has come within a round trip. */
  private fit(bytes: number): void {
    if (this.roundTripMs < MIN_ROUND_TRIP_MS || bytes < LIMITING_SHARE * this.size) {
      this.probeEvery = Math.min(MAX_PROBE_BYTES, 2 * this.probeEvery);
      return;
    }
    if (!keepReading(this.session)) {
      this.fixed = true;
      return;
    }
    this.size = Math.min(MAX_SESSION_WINDOW_BYTES, 2 * Math.max(this.size, bytes));
    this.fixed = this.size === MAX_SESSION_WINDOW_BYTES;
    this.probeEvery = FIRST_PROBE_BYTES;
    this.session.setLocalWindowSize(this.size);
  }
}
