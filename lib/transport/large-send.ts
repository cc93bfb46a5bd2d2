/** One large packet on its way out, on a stream of its own: written slab by slab, so that what is small passes it by. */
import { constants, type Http2Session, type Http2Stream, type IncomingHttpHeaders } from 'node:http2';
import { CHANNEL_PATH } from '../protocol/headers.js';
import { payloadBytes, type FramePayload } from '../protocol/frame.js';
import { SLAB_BYTES, takeSlab } from '../protocol/slabs.js';
import { MeshError } from '../protocol/mesh-error.js';
import { resetError, statusError } from './node-errors.js';
import { resetStream } from './reset.js';

/** How much is handed to HTTP/2 before some of it has left, in slabs. */
const SLABS_AHEAD = 8;
const TEXT = new TextEncoder();

/** Exactly one of the two is called, once, and none after `cancel()`. */
export interface LargeSendEvents {
  /** All of it has left. */
  onDone(): void;
  /** It did not all leave: `not-sent` as long as the peer cannot have all of it, else `unknown`. */
  onFailure(error: MeshError): void;
}

export class LargeSend {
  /** How large it is, in bytes. */
  readonly bytes: number;
  /** True once all of it was handed to HTTP/2: before that the peer has no whole message, and cannot have begun. */
  sent = false;
  private stream: Http2Stream | undefined;
  private session: Http2Session | undefined;
  private at = 0;
  private slabsAhead = 0;
  private status = 200;
  private over = false;
  /** Called once when it is over, in whatever way; for who counts. */
  onOver: () => void = () => undefined;
  /** Gives up waiting for the stream. */
  forget: () => void = () => undefined;

  constructor(
    private payload: FramePayload,
    private readonly events: LargeSendEvents,
    /** How long the peer may take nothing, in ms; 0 = for ever. */
    private readonly stallMs: number,
    /** How errors name it. */
    private readonly name: string,
  ) {
    this.bytes = payloadBytes(payload);
  }

  /** The stream is there. */
  start(stream: Http2Stream): void {
    if (this.over) {
      stream.on('error', ignore);
      resetStream(stream, constants.NGHTTP2_CANCEL);
      return;
    }
    this.stream = stream;
    this.session = stream.session;
    stream.on('error', ignore).once('close', this.onClose).once('response', this.onResponse).resume();
    if (this.stallMs > 0) stream.setTimeout(this.stallMs, this.onStall);
    this.write();
  }

  /** There will be no stream, or it is no use. */
  fail(error: MeshError): void {
    if (!this.end()) return;
    const { stream } = this;
    if (stream === undefined) this.forget();
    else resetStream(stream, constants.NGHTTP2_INTERNAL_ERROR);
    this.events.onFailure(error.withDelivery(this.sent ? 'unknown' : 'not-sent'));
  }

  /** Nobody wants it any more: what has not left yet does not. */
  cancel(): void {
    if (!this.end()) return;
    const { stream } = this;
    if (stream === undefined) this.forget();
    else if (!stream.closed && !stream.writableFinished) resetStream(stream, constants.NGHTTP2_CANCEL);
  }

  private write(): void {
    const { stream } = this;
    if (stream === undefined || this.over || stream.destroyed) return;
    stream.cork();
    while (!this.sent && this.slabsAhead < this.mostAhead) this.writeSlab(stream);
    if (this.sent) {
      this.payload = '';
      stream.end();
    } else stream.uncork();
  }

  /** The last slab waits until those before it have left: up to then it is known that the peer has no whole message. */
  private get mostAhead(): number {
    return this.payload.length - this.at > SLAB_BYTES ? SLABS_AHEAD : 1;
  }

  private writeSlab(stream: Http2Stream): void {
    const { payload } = this;
    const slab = takeSlab();
    let used = 0;
    if (this.at === 0) used = slab.bytes.writeUInt32BE(this.bytes);
    if (typeof payload === 'string') {
      const { read, written } = TEXT.encodeInto(payload.slice(this.at), slab.bytes.subarray(used));
      this.at += read;
      used += written;
    } else {
      const part = payload.subarray(this.at, this.at + SLAB_BYTES - used);
      slab.bytes.set(part, used);
      this.at += part.length;
      used += part.length;
    }
    this.sent = this.at >= payload.length;
    this.slabsAhead += 1;
    stream.write(slab.bytes.subarray(0, used), (error) => {
      slab.free(error);
      this.slabsAhead -= 1;
      if (!this.sent) this.write();
    });
  }

  private readonly onResponse = (headers: IncomingHttpHeaders & { ':status'?: number }): void => {
    this.status = Number(headers[':status']);
    if (this.status !== 200) this.fail(statusError(this.status, this.name, CHANNEL_PATH, ''));
  };

  private readonly onStall = (): void => {
    const limit = `for ${this.stallMs} ms (limits.incompleteFrameTimeoutMs)`;
    this.fail(
      new MeshError('UNAVAILABLE', `${this.name}: the peer took nothing of a large message ${limit}`),
    );
  };

  private readonly onClose = (): void => {
    const { stream } = this;
    if (stream === undefined) return;
    const rstCode = stream.rstCode ?? constants.NGHTTP2_NO_ERROR;
    // Node need not say 'finish' before it, and a connection that is lost closes its streams without an error code.
    if (rstCode === constants.NGHTTP2_NO_ERROR && stream.writableEnded && this.session?.destroyed === false) {
      if (this.end()) this.events.onDone();
      return;
    }
    const why =
      resetError(rstCode, this.name) ??
      new MeshError('UNAVAILABLE', `${this.name}: the stream of a large message was cut short`);
    this.fail(why);
  };

  private end(): boolean {
    if (this.over) return false;
    this.over = true;
    this.payload = '';
    this.stream?.setTimeout(0);
    this.onOver();
    return true;
  }
}

function ignore(): void {
  // 'close' follows, and tells more.
}
