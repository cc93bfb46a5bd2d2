/** One HTTP/2 stream as a stream of frames: what is ready in one turn leaves in one write, with backpressure both ways. */
import {
  constants,
  type Http2Session,
  type Http2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { encodeFrames, exceeds, payloadBytes, type FramePayload } from '../protocol/frame.js';
import { FrameDecoder, type FrameSink } from '../protocol/frame-decoder.js';
import { writeFrames } from '../protocol/frame-writer.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { brokenError, resetError } from './node-errors.js';
import { ReadTurns } from './read-turns.js';
import { resetAfterEnd, resetCodeOf, resetStream } from './reset.js';
import { windowOf } from './session-window.js';
import { StallWatch } from './stall-watch.js';

/** Who reads a frame stream. */
export interface FrameReader extends FrameSink {
  /** Its frames ask for answers, which are to leave before all of a large chunk is read. @default false */
  readonly answersFrames?: boolean;
  /** The peer has ended its half; nothing more will arrive. */
  onEnd(): void;
  /** Called exactly once, last. `error` is undefined when both halves were ended in order. */
  onClose(error: MeshError | undefined): void;
}

/** Past this many bytes waiting for the peer, `congested` is true and `ready()` waits. */
export const CONGESTED_BYTES = 1024 * 1024;

/** From here on, in characters or bytes, what leaves together is written in bulk. */
const BULK_BYTES = 32 * 1024;

const READY = Promise.resolve();

/** Frames over one HTTP/2 stream. Nothing is read before {@link start}. */
export class FrameStream {
  /** Frames accepted so far; the number of a frame is the count before it. */
  framesQueued = 0;
  /** Frames handed to HTTP/2 so far: those before this number may have reached the peer. */
  framesWritten = 0;

  private queue: FramePayload[] = [];
  private queuedBytes = 0;
  private flushScheduled = false;
  private ending = false;
  private closed = false;
  private failure: MeshError | undefined;
  private reader: FrameReader | undefined;
  private decoder: FrameDecoder | undefined;
  private turns: ReadTurns | undefined;
  private waiting: { resolve: () => void; reject: (error: MeshError) => void }[] = [];
  /** From the first incomplete frame on. */
  private stall: StallWatch | undefined;
  private inputEnded = false;
  private ownTrailers: OutgoingHttpHeaders | undefined;
  /** What the peer said after its last frame; before its half has ended, and on channels, `undefined`. */
  trailers: IncomingHttpHeaders | undefined;
  private endedHere = false;
  /** True in the turn in which the stream was opened or accepted. */
  private fresh = true;
  /** Kept, since a stream that has closed no longer knows it. */
  private readonly session: Http2Session | undefined;

  constructor(
    private readonly stream: Http2Stream,
    private readonly limits: WireLimits,
    /** How errors name this stream, for example `the channel to orders (10.0.0.7:4100)`. */
    readonly name: string,
  ) {
    this.session = stream.session;
    setImmediate(() => {
      this.fresh = false;
    });
    // A stream that breaks before start() must not take the process down.
    stream.on('error', (error: unknown) => {
      // What this side has ended the session for; of everything else 'close' tells more.
      if (MeshError.is(error)) this.failure ??= error;
    });
    // Only on streams that were opened with `waitForTrailers`.
    stream.once('wantTrailers', () => {
      if (!stream.destroyed) stream.sendTrailers(this.ownTrailers ?? {});
    });
    stream.once('trailers', (trailers) => {
      this.trailers = trailers;
    });
  }

  /** Begins to read. */
  start(reader: FrameReader): void {
    this.reader = reader;
    const decoder = new FrameDecoder(this.limits.maxFrameBytes, reader);
    this.decoder = decoder;
    const { stream } = this;
    const window = windowOf(this.session);
    stream.on('drain', this.onDrain);
    // After the last write there is no 'drain' any more.
    stream.once('finish', this.releaseWaiting);
    stream.once('close', this.onStreamClose);
    if (stream.destroyed) {
      process.nextTick(this.onStreamClose);
      return;
    }
    const read = (bytes: Buffer): void => this.read(decoder, bytes);
    const turns = reader.answersFrames === true ? new ReadTurns(read, () => decoder.frameBytes) : undefined;
    this.turns = turns;
    stream.on('data', (chunk: Buffer) => {
      window?.onData(chunk.length);
      if (turns === undefined) this.read(decoder, chunk);
      else turns.push(chunk);
    });
    stream.once('end', () => {
      // Node also says 'end' for a stream that was reset or lost; 'close' tells of that.
      if (stream.aborted) return;
      this.turns?.finish();
      try {
        decoder.end();
      } catch (error) {
        this.destroy(MeshError.from(error, 'DATA_LOSS'));
        return;
      }
      this.inputEnded = true;
      if (!this.closed) reader.onEnd();
    });
  }

  /** True while frames may be sent. */
  get writable(): boolean {
    return !this.closed && !this.ending && !this.stream.destroyed;
  }

  /** Bytes that the peer has not taken yet. */
  get pendingBytes(): number {
    return this.queuedBytes + this.stream.writableLength;
  }

  /** True when the peer is behind and a polite sender waits for {@link ready}. */
  get congested(): boolean {
    return this.pendingBytes > CONGESTED_BYTES;
  }

  /**
   * Sends one frame: it leaves with all others of this turn. Throws a `MeshError` (`not-sent`) when the payload is over
   * `limits.maxFrameBytes`, when more than `limits.maxPendingBytes` wait already, or when the stream has ended.
   */
  send(payload: FramePayload): void {
    if (exceeds(payload, this.limits.maxFrameBytes)) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `a message of ${payloadBytes(payload)} bytes is over limits.maxFrameBytes (${this.limits.maxFrameBytes})`,
        { delivery: 'not-sent' },
      );
    }
    if (this.pendingBytes > this.limits.maxPendingBytes) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `${this.name} does not read: ${this.pendingBytes} bytes wait, over limits.maxPendingBytes (${this.limits.maxPendingBytes})`,
        { delivery: 'not-sent' },
      );
    }
    if (!this.writable)
      throw new MeshError('UNAVAILABLE', `${this.name} is closed`, { delivery: 'not-sent' });
    this.framesQueued += 1;
    this.queuedBytes += payload.length;
    this.queue.push(payload);
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      process.nextTick(this.flush);
    }
  }

  /** Resolves when the peer has room; rejects with a `MeshError` when the stream ends before. */
  ready(): Promise<void> {
    if (!this.congested) return READY;
    if (this.closed)
      return Promise.reject(this.failure ?? new MeshError('UNAVAILABLE', `${this.name} is closed`));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** Stops reading, so that flow control holds the peer back. */
  pause(): void {
    this.stream.pause();
  }

  /** Reads on. */
  resume(): void {
    this.stall?.resumed();
    if (!this.stream.destroyed) this.stream.resume();
  }

  /** Ends our half once everything queued has left, with trailers where the stream has them; the peer may go on sending. */
  end(trailers?: OutgoingHttpHeaders): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    this.ownTrailers = trailers;
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      process.nextTick(this.flush);
    }
  }

  /**
   * Ends our half like {@link end}; what the peer still sends is of no interest any more. A peer that is told so by our end
   * ends its own half; one that does not is reset after a while. (A reset at once could overtake the trailers.)
   */
  finish(trailers: OutgoingHttpHeaders): void {
    this.endedHere = true;
    this.end(trailers);
    if (!this.inputEnded && !this.closed) this.takeNoMore(false);
  }

  /**
   * Ends our half like {@link finish}, with trailers that tell of `error`. A peer that does not come to read them in a while sees
   * a reset; so does one to which our end was said already.
   */
  fail(error: MeshError, trailers: OutgoingHttpHeaders): void {
    if (this.closed) return;
    if (this.ending) {
      this.destroy(error);
      return;
    }
    this.failure ??= error;
    this.end(trailers);
    if (!this.inputEnded) this.takeNoMore(false, resetCodeOf(error.code));
  }

  /** Ends both halves at once. With an error the peer sees a reset, and {@link FrameReader.onClose} gets it. */
  destroy(error?: MeshError): void {
    if (this.closed) return;
    this.failure ??= error;
    this.decoder?.stop();
    if (error !== undefined) {
      this.ending = true;
      const code = resetCodeOf(error.code);
      // A reset in the turn of the answer would take the headers of the answer with it.
      if (this.fresh) setImmediate(() => resetStream(this.stream, code));
      else resetStream(this.stream, code);
      return;
    }
    this.endedHere = true;
    // In order means that what was sent before still leaves.
    this.end();
    this.flush();
    this.takeNoMore(true);
  }

  private takeNoMore(atOnce: boolean, code?: number): void {
    this.decoder?.stop();
    resetAfterEnd(this.stream, atOnce, code);
  }

  private read(decoder: FrameDecoder, bytes: Buffer): void {
    if (this.closed) return;
    try {
      decoder.push(bytes);
    } catch (error) {
      this.destroy(MeshError.from(error, 'INTERNAL'));
      return;
    }
    if (decoder.incomplete) this.watchForStall(decoder);
  }

  private readonly flush = (): void => {
    this.flushScheduled = false;
    const { stream } = this;
    if (this.closed || stream.destroyed) return;
    if (this.queue.length > 0) {
      // Held back until 'drain': what waits here can still leave in one large write.
      if (stream.writableLength > CONGESTED_BYTES) return;
      const batch = this.queue;
      const bulk = this.queuedBytes >= BULK_BYTES;
      this.queue = [];
      this.queuedBytes = 0;
      this.framesWritten += batch.length;
      if (bulk) this.writeBulk(batch);
      else if (this.ending) stream.end(encodeFrames(batch));
      else stream.write(encodeFrames(batch));
    } else if (this.ending) {
      stream.end();
    }
  };

  private writeBulk(batch: readonly FramePayload[]): void {
    const { stream } = this;
    stream.cork();
    writeFrames(batch, (bytes, done) => stream.write(bytes, done));
    if (this.ending) stream.end();
    // `end()` has uncorked it.
    else stream.uncork();
  }

  private readonly onDrain = (): void => {
    this.flush();
    this.releaseWaiting();
  };

  private readonly releaseWaiting = (): void => {
    if (this.waiting.length === 0 || this.congested) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const waiter of waiting) waiter.resolve();
  };

  private readonly onStreamClose = (): void => {
    if (this.closed) return;
    this.turns?.finish();
    this.closed = true;
    this.stall?.stop();
    this.queue = [];
    this.queuedBytes = 0;
    const error = this.failure ?? this.endError();
    const waiting = this.waiting;
    this.waiting = [];
    for (const waiter of waiting)
      waiter.reject(error ?? new MeshError('UNAVAILABLE', `${this.name} is closed`));
    this.reader?.onClose(error);
  };

  /** Why the stream ended when nobody said so here; `undefined` when that was in order. */
  private endError(): MeshError | undefined {
    const { stream, session } = this;
    if (this.endedHere) return undefined;
    const rstCode = stream.rstCode ?? constants.NGHTTP2_NO_ERROR;
    const inOrder = rstCode === constants.NGHTTP2_NO_ERROR && this.ending && this.inputEnded;
    if (!inOrder && session?.destroyed !== false) return brokenError(undefined, this.name);
    return resetError(rstCode, this.name);
  }

  private watchForStall(decoder: FrameDecoder): void {
    const limit = this.limits.incompleteFrameTimeoutMs;
    if (limit === 0) return;
    this.stall ??= new StallWatch(limit, {
      incomplete: () => !this.closed && decoder.incomplete,
      paused: () => this.stream.isPaused(),
      onStall: () =>
        this.destroy(
          new MeshError(
            'UNAVAILABLE',
            `${this.name}: a frame stood still for ${limit} ms (limits.incompleteFrameTimeoutMs)`,
          ),
        ),
    });
    this.stall.begin();
  }
}
