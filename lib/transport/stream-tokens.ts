/** Streams that two nodes have agreed on by a token: who waits for each, and for how long. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';

/** The longest token that is accepted, in characters. */
export const MAX_TOKEN_LENGTH = 128;

/** Who waits for a stream; exactly one of the two is called, unless it is forgotten before. */
export interface StreamTaker {
  /** The stream has come. */
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  /** It has not come in time. */
  expire(): void;
}

interface Entry {
  readonly taker: StreamTaker;
  readonly timer: NodeJS.Timeout;
}

/** The tokens of one session, each good for one stream. */
export class StreamTokens {
  private readonly entries = new Map<string, Entry>();

  /** Streams that are waited for. */
  get size(): number {
    return this.entries.size;
  }

  /** Waits for the stream with this token, `timeoutMs` at the longest. Returns the way to forget it. */
  expect(token: string, timeoutMs: number, taker: StreamTaker): () => void {
    const timer = setTimeout(() => {
      this.entries.delete(token);
      taker.expire();
    }, timeoutMs).unref();
    this.entries.set(token, { taker, timer });
    return () => {
      clearTimeout(timer);
      this.entries.delete(token);
    };
  }

  /** Who waits for the stream with this token; from here on nobody does. */
  claim(token: string): StreamTaker | undefined {
    const entry = this.entries.get(token);
    if (entry === undefined) return undefined;
    clearTimeout(entry.timer);
    this.entries.delete(token);
    return entry.taker;
  }
}
