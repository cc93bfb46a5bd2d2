/** Streams that two nodes have agreed on by a token: who waits for each, and for how long. */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { resetStream } from './reset.js';

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

  /** Waits for the stream with this token, `timeoutMs` at the longest. Returns the way to forget it. Nobody else may wait for it. */
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

  has(token: string): boolean {
    return this.entries.has(token);
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

interface Early {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly timer: NodeJS.Timeout;
}

/** Streams whose token the peer has made: the stream and the word that tells of it may come in either order. */
export class StreamArrivals {
  private readonly expected = new StreamTokens();
  private readonly early = new Map<string, Early>();

  /** Streams that are waited for, and streams that wait. */
  get size(): number {
    return this.expected.size + this.early.size;
  }

  /** See `StreamTokens.expect`; a stream that is there already is taken at once. A token that is waited for already expires. */
  expect(token: string, timeoutMs: number, taker: StreamTaker): () => void {
    const early = this.early.get(token);
    if (early !== undefined) {
      this.dropEarly(token);
      taker.take(early.stream, early.headers);
    } else if (this.expected.has(token)) taker.expire();
    else return this.expected.expect(token, timeoutMs, taker);
    return () => undefined;
  }

  /** A stream has come: it is taken, or kept unread for `timeoutMs`. False when there is one with that token already. */
  arrive(token: string, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, timeoutMs: number): boolean {
    const taker = this.expected.claim(token);
    if (taker !== undefined) {
      taker.take(stream, headers);
      return true;
    }
    if (this.early.has(token)) return false;
    const timer = setTimeout(() => this.discard(token), timeoutMs).unref();
    this.early.set(token, { stream, headers, timer });
    stream.once('close', () => {
      if (this.early.get(token)?.stream === stream) this.dropEarly(token);
    });
    return true;
  }

  /** Nobody wants the stream with this token, should it have come. */
  discard(token: string): void {
    const stream = this.early.get(token)?.stream;
    this.dropEarly(token);
    if (stream !== undefined) resetStream(stream, constants.NGHTTP2_CANCEL);
  }

  private dropEarly(token: string): void {
    clearTimeout(this.early.get(token)?.timer);
    this.early.delete(token);
  }
}
