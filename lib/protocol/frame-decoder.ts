/** Bytes in, frames out, however the bytes were cut: a running total, `subarray` within a chunk, a copy only across chunks. */
import { isAscii } from 'node:buffer';
import { FRAME_HEADER_BYTES } from './frame.js';
import { UNTRUSTED_LENGTH_FACTOR } from './limits.js';
import { MeshError } from './mesh-error.js';
import { Pieces } from './pieces.js';

/** Where decoded frames go. May stop the decoder it is called from; must not push into it. */
export interface FrameSink {
  /** True when a payload is of no use to the sink once `onFrame` has returned: such payloads share memory. @default false */
  readonly keepsNothing?: boolean;
  /** One whole payload; valid for as long as it is kept, unless the sink {@link keepsNothing}. */
  onFrame(payload: Buffer): void;
  /** For payloads that are text: reads one; `undefined` when it is to be read by {@link onFrame}. Throws nothing. */
  readonly readText?: ((text: string) => unknown) | undefined;
  /** In the place of {@link onFrame}: what {@link readText} has read of a payload of so many bytes. */
  onValue?(value: unknown, bytes: number): void;
  /** A frame longer than the limit was skipped. `head` is the first part of its payload, at most {@link HEAD_BYTES}. */
  onOversize(declaredBytes: number, head: Buffer): void;
}

/** How much of a skipped frame is kept, so that its `id` can be told and that one call be failed. */
export const HEAD_BYTES = 256;

/** Longer payloads are read from their bytes, where reading costs more than asking for it. */
const TEXT_BYTES = 4 * 1024;

const EMPTY = Buffer.alloc(0);

/** An incremental decoder of one direction of one stream. */
export class FrameDecoder {
  private header = 0;
  private headerBytes = 0;
  /** Declared length of the frame under way, or -1 while the header is incomplete. */
  private declared = -1;
  private received = 0;
  /** Declared length of the frame that has begun last; 0 before the first. */
  frameBytes = 0;
  /** What has arrived of a frame that spans chunks. */
  private readonly pieces = new Pieces();
  /** The first bytes of a frame that is skipped. */
  private head = EMPTY;
  private stopped = false;
  /** The chunk as text, in which a character is a byte; `undefined` when it is not known, or not all of it is ASCII. */
  private text: string | undefined;
  private textKnown = false;

  constructor(
    private readonly maxFrameBytes: number,
    private readonly sink: FrameSink,
  ) {}

  /** True while a frame has begun and not ended. */
  get incomplete(): boolean {
    return this.headerBytes > 0 || this.declared >= 0;
  }

  /** Ignores everything from here on. */
  stop(): void {
    this.stopped = true;
    this.pieces.clear();
    this.head = EMPTY;
    this.headerBytes = 0;
    this.declared = -1;
  }

  /**
   * Takes the next bytes. Throws a `MeshError` (`RESOURCE_EXHAUSTED`) when the declared length cannot be trusted, and
   * what the sink throws. Either stops the decoder: the rest of the chunk is lost, so what follows would be misread.
   */
  push(chunk: Buffer): void {
    try {
      this.decode(chunk);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  private decode(chunk: Buffer): void {
    let at = 0;
    this.text = undefined;
    this.textKnown = false;
    while (!this.stopped) {
      if (this.declared < 0) {
        at = this.readHeader(chunk, at);
        if (this.declared < 0) return;
      }
      at = this.declared > this.maxFrameBytes ? this.skipBody(chunk, at) : this.readBody(chunk, at);
      if (this.declared >= 0) return;
    }
  }

  /** The stream has ended: throws a `MeshError` (`DATA_LOSS`) when that cut a frame short. */
  end(): void {
    if (!this.incomplete) return;
    const got =
      this.declared < 0
        ? `${this.headerBytes} of 4 header bytes`
        : `${this.received} of ${this.declared} bytes`;
    throw new MeshError('DATA_LOSS', `the stream ended inside a frame, after ${got}`);
  }

  private readHeader(chunk: Buffer, from: number): number {
    let at = from;
    if (this.headerBytes === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
      this.begin(chunk.readUInt32BE(at));
      return at + FRAME_HEADER_BYTES;
    }
    while (at < chunk.length && this.headerBytes < FRAME_HEADER_BYTES) {
      this.header = this.header * 256 + (chunk[at] ?? 0);
      this.headerBytes += 1;
      at += 1;
    }
    if (this.headerBytes === FRAME_HEADER_BYTES) this.begin(this.header);
    return at;
  }

  private begin(declared: number): void {
    this.header = 0;
    this.headerBytes = 0;
    if (declared > this.maxFrameBytes * UNTRUSTED_LENGTH_FACTOR) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `a frame declares ${declared} bytes, over ${UNTRUSTED_LENGTH_FACTOR} times limits.maxFrameBytes ` +
          `(${this.maxFrameBytes}): the peer's framing cannot be trusted`,
      );
    }
    this.declared = declared;
    this.frameBytes = declared;
    this.received = 0;
  }

  private readBody(chunk: Buffer, at: number): number {
    const missing = this.declared - this.received;
    const available = chunk.length - at;
    if (this.received === 0 && available >= missing) {
      const end = at + missing;
      if (missing === 0) this.finish(EMPTY);
      else if (missing >= TEXT_BYTES || !this.finishText(chunk, at, end))
        this.finish(chunk.subarray(at, end));
      return end;
    }
    const take = Math.min(missing, available);
    this.pieces.add(chunk, at, take, missing);
    this.received += take;
    if (this.received === this.declared)
      this.finish(this.pieces.take(this.declared, this.sink.keepsNothing === true));
    return at + take;
  }

  private finish(payload: Buffer): void {
    this.declared = -1;
    this.sink.onFrame(payload);
  }

  /** Reads a payload as text; false when it must be read from its bytes. */
  private finishText(chunk: Buffer, at: number, end: number): boolean {
    const { sink } = this;
    if (sink.readText === undefined || sink.onValue === undefined) return false;
    const text = this.textOf(chunk, at, end);
    const value = sink.readText(text ?? chunk.toString('utf8', at, end));
    if (value === undefined) return false;
    this.declared = -1;
    sink.onValue(value, end - at);
    return true;
  }

  /** One text of a whole chunk costs less than a text of each of its payloads. */
  private textOf(chunk: Buffer, at: number, end: number): string | undefined {
    if (!this.textKnown) {
      // Made for the first payload after which there may be others.
      if (end + FRAME_HEADER_BYTES >= chunk.length) return undefined;
      this.textKnown = true;
      if (isAscii(chunk)) this.text = chunk.toString('latin1');
    }
    return this.text?.substring(at, end);
  }

  private skipBody(chunk: Buffer, at: number): number {
    const take = Math.min(this.declared - this.received, chunk.length - at);
    const head = Math.min(take, HEAD_BYTES - Math.min(this.received, HEAD_BYTES));
    if (head > 0) this.keepHead(chunk, at, head);
    this.received += take;
    if (this.received === this.declared) {
      const { declared, head: kept } = this;
      this.head = EMPTY;
      this.declared = -1;
      this.sink.onOversize(declared, kept);
    }
    return at + take;
  }

  private keepHead(chunk: Buffer, at: number, length: number): void {
    if (this.head.length === 0) this.head = Buffer.allocUnsafeSlow(Math.min(this.declared, HEAD_BYTES));
    chunk.copy(this.head, this.received, at, at + length);
  }
}
