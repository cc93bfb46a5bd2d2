/** The caller's side of a call stream: pulled by its reader, so that a slow reader slows the producer across the wire. */
import { readTrailers } from '../protocol/call-status.js';
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { MeshError, type MeshErrorOrigin } from '../protocol/mesh-error.js';
import type { FrameStream } from './frame-stream.js';
import { RawChannel } from './raw-channel.js';
import { oversize } from './served-stream.js';

/** What is sent: one value, or a stream of them. */
export type StreamInput = { readonly data: unknown } | { readonly values: AsyncIterable<unknown> };

/** What is known of the call beside its stream. */
export interface CallingStreamOptions {
  /** Where it goes, for errors. */
  readonly origin: MeshErrorOrigin;
  /** Until the first value of the answer, or its end, in ms; 0 = for ever. */
  readonly timeoutMs: number;
}

/** One call on a stream of its own. `next()` rejects with what the callee says, or with a `MeshError`. */
export class CallingStream implements AsyncIterator<unknown, undefined> {
  private readonly channel: RawChannel;
  private readonly timer: NodeJS.Timeout | undefined;
  /** Why this side has ended it: the failure of the input, the time limit, the end of the node. */
  private failure: { readonly error: unknown } | undefined;
  private over = false;
  private cancelled = false;

  constructor(
    private readonly frames: FrameStream,
    private readonly options: CallingStreamOptions,
    private readonly codec: Codec = JSON_CODEC,
  ) {
    this.channel = new RawChannel(frames, codec);
    const { timeoutMs } = options;
    if (timeoutMs > 0) this.timer = setTimeout(() => this.onTimeout(), timeoutMs).unref();
  }

  /** Begins to read, and to send the input. */
  start(input: StreamInput): void {
    const { channel, frames } = this;
    frames.start({
      keepsNothing: !this.codec.keepsPayload,
      readText: this.codec.decodeText,
      onValue: (value, bytes) => {
        clearTimeout(this.timer);
        channel.onValue(value, bytes);
      },
      onFrame: (payload) => {
        try {
          clearTimeout(this.timer);
          channel.onValue(this.codec.decode(payload), payload.length);
        } catch (error) {
          this.fail(MeshError.from(error));
        }
      },
      onOversize: (bytes) => this.fail(oversize(bytes)),
      onEnd: () => {
        clearTimeout(this.timer);
        this.over = true;
        channel.onEnd();
        // The answer is there: what was still to be sent is of no interest to anybody.
        frames.end();
      },
      onClose: (error) => {
        clearTimeout(this.timer);
        this.over = true;
        channel.onClose(error);
      },
    });
    if ('data' in input) this.sendOnly(input.data);
    else void this.sendAll(input.values);
  }

  /** Resolves once the stream is gone. */
  get whenClosed(): Promise<unknown> {
    return this.channel.whenClosed;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    let result: IteratorResult<unknown, undefined>;
    try {
      result = await this.channel.next();
    } catch (error) {
      throw this.failure === undefined ? MeshError.from(error).at(this.options.origin) : this.failure.error;
    }
    if (result.done !== true) return result;
    if (this.failure !== undefined) throw this.failure.error;
    const ended = this.cancelled ? undefined : readTrailers(this.frames.trailers);
    if (ended === undefined) return result;
    throw MeshError.is(ended.err) ? ended.err.at(this.options.origin) : ended.err;
  }

  /** The caller no longer wants the answer; `next()` says that it has ended. */
  cancel(): void {
    if (this.over) return;
    this.cancelled = true;
    this.end(new MeshError('CANCELLED', 'the caller cancelled the call'));
  }

  /** Ends the call: `next()` rejects with `error`, and the peer sees a cancel. */
  fail(error: unknown): void {
    if (this.over) return;
    this.failure = { error: MeshError.is(error) ? error.at(this.options.origin) : error };
    this.end(new MeshError('CANCELLED', 'the caller gave the call up', { cause: error }));
  }

  private end(error: MeshError): void {
    this.over = true;
    clearTimeout(this.timer);
    this.frames.destroy(error);
  }

  private onTimeout(): void {
    const { timeoutMs, origin } = this.options;
    this.fail(
      new MeshError(
        'DEADLINE_EXCEEDED',
        `'${origin.pattern}' was not answered within ${timeoutMs} ms (timeoutMs): there was no answer`,
      ),
    );
  }

  private sendOnly(data: unknown): void {
    try {
      if (data !== undefined) this.frames.send(this.codec.encode(data));
      this.frames.end();
    } catch (error) {
      this.fail(error);
    }
  }

  private async sendAll(values: AsyncIterable<unknown>): Promise<void> {
    const iterator = values[Symbol.asyncIterator]();
    void this.channel.whenClosed.then(() => {
      // Also an iterator that waits for its next value must hear that nobody wants it.
      if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
    });
    let ended = false;
    try {
      while (!this.over) {
        const result = await iterator.next();
        if (result.done === true) {
          ended = true;
          this.frames.end();
          return;
        }
        if (!this.over) await this.channel.send(result.value);
      }
    } catch (error) {
      this.fail(error);
    }
  }
}
