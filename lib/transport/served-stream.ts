/** The callee's side of a call stream: the caller's frames are its input, ours its output, the trailers its end. */
import { errorTrailers, OK_TRAILERS } from '../protocol/call-status.js';
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata, ResponsePacket } from '../protocol/packet.js';
import type { FrameStream } from './frame-stream.js';
import { cancelledByCaller, InboundCall, type ReplyCarrier } from './inbound-call.js';
import { RawChannel } from './raw-channel.js';

/** What the headers of a call stream say. */
export interface ServedStreamOpening {
  readonly route: string;
  /** True when the only frame of the caller is the data of the call. */
  readonly single: boolean;
  readonly metadata: Metadata | undefined;
  readonly timeoutMs: number | undefined;
}

/** One call on a stream of its own. */
export class ServedStream implements ReplyCarrier {
  private readonly input: RawChannel;
  private call: InboundCall | undefined;
  /** Resolves once the stream is gone. */
  readonly whenClosed: Promise<void>;

  constructor(
    private readonly frames: FrameStream,
    private readonly opening: ServedStreamOpening,
    private readonly dispatch: (call: InboundCall) => void,
    private readonly codec: Codec = JSON_CODEC,
  ) {
    this.input = new RawChannel(frames, codec);
    this.whenClosed = this.input.whenClosed.then(() => undefined);
  }

  /** True until the answer has ended. */
  get open(): boolean {
    return this.call?.open === true;
  }

  /** Reads, and hands the call on: at once, or when its only value has come. */
  start(): void {
    const { input, frames } = this;
    frames.start({
      keepsNothing: !this.codec.keepsPayload,
      readText: this.codec.decodeText,
      onValue: (value, bytes) => this.take(value, bytes),
      onFrame: (payload) => {
        let value: unknown;
        try {
          value = this.codec.decode(payload);
        } catch (error) {
          frames.destroy(MeshError.from(error, 'INVALID_ARGUMENT'));
          return;
        }
        this.take(value, payload.length);
      },
      onOversize: (bytes) => frames.destroy(oversize(bytes)),
      onEnd: () => {
        if (this.opening.single && this.call === undefined) this.begin(undefined);
        input.onEnd();
      },
      onClose: (error) => {
        input.onClose(error ?? cancelledByCaller());
        this.call?.cancel(error ?? cancelledByCaller());
      },
    });
    if (!this.opening.single) this.begin(inputOf(input));
  }

  isCongested(): boolean {
    return this.frames.congested;
  }

  ready(): Promise<void> {
    return this.frames.ready();
  }

  reply(packet: ResponsePacket): void {
    if (packet.err !== undefined) this.frames.finish(errorTrailers(packet.err, packet.errorId));
    else {
      // An item that is undefined has no packet to say so here: JSON's nearest word is null.
      if (packet.response !== undefined) this.frames.send(this.codec.encode(packet.response));
      else if (packet.isDisposed !== true) this.frames.send(this.codec.encode(null));
      if (packet.isDisposed === true) this.frames.finish(OK_TRAILERS);
    }
  }

  settle(): void {
    // The stream ends with its answer, or has ended already.
  }

  private take(value: unknown, bytes: number): void {
    try {
      if (this.opening.single && this.call === undefined) this.begin(value);
      else this.input.onValue(value, bytes);
    } catch (error) {
      this.frames.destroy(MeshError.from(error, 'INVALID_ARGUMENT'));
    }
  }

  private begin(data: unknown): void {
    const { route: pattern, metadata, timeoutMs: timeout } = this.opening;
    const call = new InboundCall({ id: 0, pattern, data, metadata, timeout }, this);
    this.call = call;
    this.dispatch(call);
  }
}

/** The input of a call as its handler sees it. Leaving the loop early stops reading: the answer is still to come. */
function inputOf(input: RawChannel): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => input.next(),
      return: () => Promise.resolve({ done: true, value: undefined }),
    }),
  };
}

/** The error of a frame over the limit on a stream of its own. */
export function oversize(bytes: number): MeshError {
  return new MeshError(
    'RESOURCE_EXHAUSTED',
    `a message of ${bytes} bytes is over limits.maxFrameBytes of the receiver`,
  );
}
