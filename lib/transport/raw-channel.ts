/** A raw channel: any JSON values both ways, with backpressure in both directions. */
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { FramePayload } from '../protocol/frame.js';

/** What carries the frames of a raw channel: a stream of its own, or a packet channel whose other frames it gets. */
export interface RawLink {
  send(payload: FramePayload): void;
  readonly congested: boolean;
  ready(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Ends our half. */
  end(): void;
  /** Ends both halves at once. */
  destroy(error?: MeshError): void;
}

/** Tells the peer why the channel ends; `errorId` names the line of the log that says more. */
export type TellPeer = (error: MeshError, errorId: string | undefined) => void;

/** How long a handler that has left its loop may take to its own end before the peer is told that the channel has ended. */
const LEAVE_MS = 5_000;

/** Reading pauses when this many payload bytes wait for the reader, and goes on below half of it. */
const READ_AHEAD_BYTES = 256 * 1024;

const SENT = Promise.resolve();

interface Arrived<In> {
  readonly value: In;
  readonly bytes: number;
}

interface Reading<In> {
  resolve: (result: IteratorResult<In, undefined>) => void;
  reject: (error: MeshError) => void;
}

/** Both ways at once; one reader. */
export class RawChannel<In = unknown, Out = unknown> implements AsyncIterable<In> {
  private readonly arrived: Arrived<In>[] = [];
  private arrivedAt = 0;
  private arrivedBytes = 0;
  private paused = false;
  private readings: Reading<In>[] = [];
  /** True once the peer has ended its half. */
  inputEnded = false;
  private outputEnded = false;
  private failure: MeshError | undefined;
  private closed = false;
  private held = false;
  private lateEnd: NodeJS.Timeout | undefined;
  private settleClosed: (error: MeshError | undefined) => void = () => undefined;
  /** Resolves once both halves have ended, with the error when they did not end in order. Never rejects. */
  readonly whenClosed: Promise<MeshError | undefined> = new Promise((resolve) => {
    this.settleClosed = resolve;
  });

  constructor(
    private readonly link: RawLink,
    private readonly codec: Codec = JSON_CODEC,
    /** Without it the peer is only shown that something went wrong. */
    private readonly tell: TellPeer = (error) => link.destroy(error),
  ) {}

  /** False once our half has ended or the channel is gone. */
  get writable(): boolean {
    return !this.closed && !this.outputEnded;
  }

  /**
   * Sends one value. The promise resolves at once while the peer keeps up, and when it has caught up otherwise: a sender
   * that awaits it never runs far ahead. Rejects with a `MeshError` when the value cannot be written (`INVALID_ARGUMENT`),
   * is too large or too much waits already (`RESOURCE_EXHAUSTED`), or the channel has ended (`UNAVAILABLE`).
   */
  send(value: Out): Promise<void> {
    if (!this.writable) return Promise.reject(this.failure ?? closedError());
    try {
      this.link.send(this.codec.encode(value));
    } catch (error) {
      return Promise.reject(MeshError.from(error, 'INTERNAL'));
    }
    return this.link.congested ? this.link.ready() : SENT;
  }

  /** True when the peer is behind: what is sent now waits. */
  get congested(): boolean {
    return this.link.congested;
  }

  /** Half-close: the peer sees the end of our values, and may go on sending. */
  end(): void {
    if (!this.writable) return;
    this.outputEnded = true;
    this.link.end();
  }

  /** Ends both halves at once; what the peer still sends is dropped. */
  close(error?: MeshError): void {
    if (this.closed) return;
    this.link.destroy(error);
    this.onClose(error);
  }

  /** A handler begins that says with {@link release} how it has ended. */
  hold(): void {
    this.held = true;
  }

  /** The handler has ended: with an error the channel ends by it. */
  release(error?: MeshError, errorId?: string): void {
    this.held = false;
    if (this.lateEnd !== undefined) {
      clearTimeout(this.lateEnd);
      if (error === undefined) this.link.destroy();
      else this.tell(error, errorId);
    } else if (error !== undefined && !this.closed) {
      this.tell(error, errorId);
      this.onClose(error);
    }
  }

  /** The next value, or the end. */
  next(): Promise<IteratorResult<In, undefined>> {
    const item = this.arrived[this.arrivedAt];
    if (item !== undefined) {
      this.take(item);
      return Promise.resolve({ done: false, value: item.value });
    }
    if (this.failure !== undefined && !this.inputEnded) return Promise.reject(this.failure);
    if (this.inputEnded || this.closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.readings.push({ resolve, reject }));
  }

  /** Iterates what arrives, until the peer ends its half. Leaving the loop early closes the channel. */
  [Symbol.asyncIterator](): AsyncIterator<In, undefined> {
    return {
      next: () => this.next(),
      return: () => {
        if (!this.inputEnded) this.leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** The transport has a frame. */
  onValue(value: In, bytes: number): void {
    if (this.inputEnded || this.closed) return;
    const reading = this.readings.shift();
    if (reading !== undefined) {
      reading.resolve({ done: false, value });
      return;
    }
    this.arrived.push({ value, bytes });
    this.arrivedBytes += bytes;
    if (!this.paused && this.arrivedBytes > READ_AHEAD_BYTES) {
      this.paused = true;
      this.link.pause();
    }
  }

  /** The peer has ended its half. */
  onEnd(): void {
    if (this.inputEnded) return;
    this.inputEnded = true;
    this.endReadings();
  }

  /** The stream underneath is gone. What has arrived can still be read. */
  onClose(error: MeshError | undefined): void {
    clearTimeout(this.lateEnd);
    if (this.closed) return;
    this.closed = true;
    this.failure = error;
    this.endReadings();
    this.settleClosed(error);
  }

  /**
   * The loop was left early. Whether by an error is known when the handler has ended: here the channel is closed at once, and the
   * peer is told then.
   */
  private leave(): void {
    if (this.closed || !this.held) {
      this.close();
      return;
    }
    this.onClose(undefined);
    this.lateEnd = setTimeout(() => this.release(), LEAVE_MS).unref();
  }

  private take(item: Arrived<In>): void {
    this.arrivedAt += 1;
    if (this.arrivedAt === this.arrived.length || this.arrivedAt > 1_024) {
      this.arrived.splice(0, this.arrivedAt);
      this.arrivedAt = 0;
    }
    this.arrivedBytes -= item.bytes;
    if (this.paused && this.arrivedBytes < READ_AHEAD_BYTES / 2) {
      this.paused = false;
      this.link.resume();
    }
  }

  private endReadings(): void {
    const readings = this.readings;
    this.readings = [];
    for (const reading of readings) {
      if (this.failure === undefined) reading.resolve({ done: true, value: undefined });
      else reading.reject(this.failure);
    }
  }
}

function closedError(): MeshError {
  return new MeshError('UNAVAILABLE', 'the channel is closed', { delivery: 'not-sent' });
}
