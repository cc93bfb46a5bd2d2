/** One HTTP/2 stream as a stream of frames: what is ready in one turn leaves in one write, with backpressure both ways. */
import { constants, type Http2Stream } from 'node:http2';
import { encodeFrames, exceeds, payloadBytes, type FramePayload } from '../protocol/frame.js';
import { FrameDecoder, type FrameSink } from '../protocol/frame-decoder.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { brokenError, resetError } from './node-errors.js';

/** Who reads a frame stream. */
export interface FrameReader extends FrameSink {
  /** The peer has ended its half; nothing more will arrive. */
  onEnd(): void;
  /** Called exactly once, last. `error` is undefined when both halves were ended in order. */
  onClose(error: MeshError | undefined): void;
}

/** Past this many bytes waiting for the peer, `congested` is true and `ready()` waits. */
export const CONGESTED_BYTES = 1024 * 1024;

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
  private waiting: { resolve: () => void; reject: (error: MeshError) => void }[] = [];
  private stallTimer: NodeJS.Timeout | undefined;
  private lastByteAt = 0;

  constructor(
    private readonly stream: Http2Stream,
    private readonly limits: WireLimits,
    /** How errors name this stream, for example `the channel to orders (10.0.0.7:4100)`. */
    readonly name: string,
  ) {
    // A stream that breaks before start() must not take the process down.
    stream.on('error', this.onStreamError);
  }

  /** Begins to read. */
  start(reader: FrameReader): void {
    this.reader = reader;
    const decoder = new FrameDecoder(this.limits.maxFrameBytes, reader);
    this.decoder = decoder;
    const { stream } = this;
    stream.on('drain', this.onDrain);
    stream.once('close', this.onStreamClose);
    if (stream.destroyed) {
      process.nextTick(this.onStreamClose);
      return;
    }
    stream.on('data', (chunk: Buffer) => {
      try {
        decoder.push(chunk);
      } catch (error) {
        this.destroy(MeshError.from(error, 'INTERNAL'));
        return;
      }
      if (decoder.incomplete) this.watchForStall();
    });
    stream.once('end', () => {
      try {
        decoder.end();
      } catch (error) {
        this.destroy(MeshError.from(error, 'DATA_LOSS'));
        return;
      }
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
    if (!this.stream.destroyed) this.stream.resume();
  }

  /** Ends our half once everything queued has left; the peer may go on sending. */
  end(): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      process.nextTick(this.flush);
    }
  }

  /** Ends both halves at once. With an error the peer sees a reset, and {@link FrameReader.onClose} gets it. */
  destroy(error?: MeshError): void {
    if (this.closed) return;
    this.failure ??= error;
    this.decoder?.stop();
    // In order means that what was sent before still leaves.
    if (error === undefined) this.flush();
    const code = error === undefined ? constants.NGHTTP2_NO_ERROR : resetCodeOf(error);
    this.stream.close(code);
    // close() waits for both halves; what the peer still sends is of no interest.
    this.stream.resume();
    if (error !== undefined) this.stream.destroy();
  }

  private readonly flush = (): void => {
    this.flushScheduled = false;
    const { stream } = this;
    if (this.closed || stream.destroyed) return;
    if (this.queue.length > 0) {
      // Held back until 'drain': what waits here can still leave in one large write.
      if (stream.writableLength > CONGESTED_BYTES) return;
      const batch = this.queue;
      this.queue = [];
      this.queuedBytes = 0;
      this.framesWritten += batch.length;
      const bytes = encodeFrames(batch);
      if (this.ending) stream.end(bytes);
      else stream.write(bytes);
    } else if (this.ending) {
      stream.end();
    }
  };

  private readonly onDrain = (): void => {
    this.flush();
    if (this.waiting.length === 0 || this.congested) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const waiter of waiting) waiter.resolve();
  };

  private readonly onStreamError = (error: unknown): void => {
    this.failure ??= brokenError(error, this.name);
  };

  private readonly onStreamClose = (): void => {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.stallTimer);
    this.queue = [];
    this.queuedBytes = 0;
    const { stream } = this;
    const lost = stream.session === undefined || stream.session.destroyed;
    const error =
      this.failure ??
      (lost && stream.rstCode !== constants.NGHTTP2_NO_ERROR
        ? brokenError(undefined, this.name)
        : resetError(stream.rstCode ?? constants.NGHTTP2_NO_ERROR, this.name));
    const waiting = this.waiting;
    this.waiting = [];
    for (const waiter of waiting)
      waiter.reject(error ?? new MeshError('UNAVAILABLE', `${this.name} is closed`));
    this.reader?.onClose(error);
  };

  /** One timer at most, and only while a frame is incomplete. */
  private watchForStall(): void {
    const limit = this.limits.incompleteFrameTimeoutMs;
    if (limit === 0) return;
    this.lastByteAt = performance.now();
    this.stallTimer ??= setTimeout(this.checkStall, limit).unref();
  }

  private readonly checkStall = (): void => {
    this.stallTimer = undefined;
    if (this.closed || this.decoder?.incomplete !== true) return;
    const limit = this.limits.incompleteFrameTimeoutMs;
    const still = performance.now() - this.lastByteAt;
    // Paused reading stands still by our own wish.
    if (still < limit || this.stream.isPaused()) {
      this.stallTimer = setTimeout(this.checkStall, Math.max(1, limit - still)).unref();
      return;
    }
    this.destroy(
      new MeshError(
        'UNAVAILABLE',
        `${this.name}: a frame stood still for ${limit} ms (limits.incompleteFrameTimeoutMs)`,
      ),
    );
  };
}

function resetCodeOf(error: MeshError): number {
  switch (error.code) {
    case 'CANCELLED':
      return constants.NGHTTP2_CANCEL;
    case 'RESOURCE_EXHAUSTED':
      return constants.NGHTTP2_ENHANCE_YOUR_CALM;
    case 'DATA_LOSS':
    case 'INVALID_ARGUMENT':
      return constants.NGHTTP2_PROTOCOL_ERROR;
    default:
      return constants.NGHTTP2_INTERNAL_ERROR;
  }
}
