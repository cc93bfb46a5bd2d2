/** One large packet on its way in, on a stream of its own: exactly one frame, and then the end. */
import { constants, type Http2Stream, type IncomingHttpHeaders } from 'node:http2';
import { CHANNEL_PATH } from '../protocol/headers.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { FrameStream } from './frame-stream.js';
import { statusError } from './node-errors.js';
import { resetStream } from './reset.js';

/** Exactly one of the first three is called, once, and none after `cancel()`. */
export interface LargeFetchEvents {
  onFrame(payload: Buffer): void;
  /** It is over `limits.maxFrameBytes`. */
  onOversize(declaredBytes: number, head: Buffer): void;
  onFailure(error: MeshError): void;
  /** More than one frame came. */
  onSurplus(): void;
}

export class LargeFetch {
  private frames: FrameStream | undefined;
  private over = false;
  /** Called once when it is over, in whatever way; for who counts. */
  onOver: () => void = () => undefined;
  /** Gives up waiting for the stream. */
  forget: () => void = () => undefined;

  constructor(
    private readonly events: LargeFetchEvents,
    private readonly limits: WireLimits,
    /** How errors name it. */
    private readonly name: string,
    /** See `FrameSink`. */
    private readonly keepsNothing: boolean,
  ) {}

  /** The stream is there. */
  start(stream: Http2Stream): void {
    if (this.over) {
      stream.on('error', ignore);
      resetStream(stream, constants.NGHTTP2_CANCEL);
      return;
    }
    const { limits, name } = this;
    const frames = new FrameStream(stream, limits, name);
    this.frames = frames;
    stream.once('response', this.onResponse);
    const { incompleteFrameTimeoutMs: stallMs } = limits;
    if (stallMs > 0) stream.setTimeout(stallMs, () => this.onStall(stallMs));
    frames.start({
      keepsNothing: this.keepsNothing,
      onFrame: (payload) => {
        if (this.end()) this.events.onFrame(payload);
        else this.refuseMore(frames);
      },
      onOversize: (bytes, head) => {
        if (this.end()) this.events.onOversize(bytes, head);
        else this.refuseMore(frames);
      },
      onEnd: () =>
        this.fail(new MeshError('UNAVAILABLE', `${name}: the stream of a large message had no frame`)),
      onClose: (error) => {
        // Nearly always it is over, and then an error is made for nobody.
        if (this.over) return;
        this.fail(
          error ?? new MeshError('UNAVAILABLE', `${name}: the stream of a large message was cut short`),
        );
      },
    });
    // Nothing is said on this half.
    frames.end();
  }

  /** There will be no stream, or it is no use. */
  fail(error: MeshError): void {
    if (!this.end()) return;
    if (this.frames === undefined) this.forget();
    else this.frames.destroy(error);
    this.events.onFailure(error.withDelivery('unknown'));
  }

  /** Nobody wants it any more. */
  cancel(): void {
    if (!this.end()) return;
    if (this.frames === undefined) this.forget();
    else this.frames.destroy(new MeshError('CANCELLED', 'nobody wants the message any more'));
  }

  private readonly onResponse = (headers: IncomingHttpHeaders & { ':status'?: number }): void => {
    const status = Number(headers[':status']);
    if (status === 404)
      this.fail(new MeshError('NOT_FOUND', `${this.name}: the peer no longer sends a large message`));
    else if (status !== 200) this.fail(statusError(status, this.name, CHANNEL_PATH, ''));
  };

  private onStall(stallMs: number): void {
    const limit = `for ${stallMs} ms (limits.incompleteFrameTimeoutMs)`;
    const error = new MeshError('UNAVAILABLE', `${this.name}: nothing came of a large message ${limit}`);
    // Also a stream whose frame has come ends at last.
    if (this.over) this.frames?.destroy(error);
    else this.fail(error);
  }

  private refuseMore(frames: FrameStream): void {
    frames.destroy(new MeshError('INVALID_ARGUMENT', `${this.name}: a large message is one frame`));
    this.events.onSurplus();
  }

  private end(): boolean {
    if (this.over) return false;
    this.over = true;
    this.onOver();
    return true;
  }
}

function ignore(): void {
  // 'close' follows, and tells more.
}
