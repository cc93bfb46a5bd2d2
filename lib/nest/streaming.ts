/** Calls on streams of their own, as Nest's callbacks and as AsyncIterables. */
import type { WritePacket } from '@nestjs/microservices';
import { isObservable } from 'rxjs';
import { MeshError } from '../protocol/mesh-error.js';
import type { CallingStream } from '../transport/calling-stream.js';
import { AnswerIterator } from './answer-iterator.js';
import { abortError } from './call-options.js';

/** What is used of a call on a stream of its own. */
export type StreamCall = Pick<CallingStream, 'next' | 'cancel' | 'fail'>;
/** Begins the call. */
export type OpenCall = () => Promise<StreamCall>;

/** The values of an Observable, an AsyncIterable or a Readable that is given in the place of data; `undefined` for data. */
export function streamInputOf(data: unknown): AsyncIterable<unknown> | undefined {
  if (isObservable(data)) return { [Symbol.asyncIterator]: () => new AnswerIterator(data) };
  if (typeof data !== 'object' || data === null || !(Symbol.asyncIterator in data)) return undefined;
  return data as AsyncIterable<unknown>;
}

/** Makes the call and hands its answer to Nest's callback, packet by packet. The teardown cancels it. */
export function publishStream(
  open: OpenCall,
  callback: (packet: WritePacket) => void,
  signal: AbortSignal | undefined,
): () => void {
  const reader = new StreamAnswer(open, undefined, signal);
  let wanted = true;
  const run = async (): Promise<void> => {
    try {
      for (;;) {
        const result = await reader.next();
        if (!wanted) return;
        if (result.done === true) {
          callback({ isDisposed: true });
          return;
        }
        callback({ response: result.value });
      }
    } catch (err) {
      if (wanted) callback({ err });
    }
  };
  void run();
  return () => {
    wanted = false;
    void reader.return();
  };
}

/** The values of an answer at the pace of the reader. Begins the call when the first value is asked for. */
export class StreamAnswer implements AsyncIterator<unknown, undefined> {
  private opening: Promise<AsyncIterator<unknown, undefined>> | undefined;
  private call: StreamCall | undefined;
  private over = false;

  constructor(
    private readonly open: OpenCall,
    /** For peers that know no call streams. */
    private readonly otherwise: (() => AsyncIterator<unknown, undefined>) | undefined,
    private readonly signal: AbortSignal | undefined,
  ) {}

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.over) return { done: true, value: undefined };
    this.opening ??= this.begin();
    try {
      const values = await this.opening;
      const result = await values.next();
      if (result.done === true) this.finish();
      return result;
    } catch (error) {
      this.finish();
      throw error;
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.over = true;
    this.finish();
    if (this.call !== undefined) this.call.cancel();
    // Not waited for: the call may still be waiting for a node.
    else this.opening?.then((values) => values.return?.(), ignore);
    return { done: true, value: undefined };
  }

  private async begin(): Promise<AsyncIterator<unknown, undefined>> {
    const { signal } = this;
    if (signal?.aborted === true) throw abortError(signal).withDelivery('not-sent');
    try {
      const call = await this.open();
      this.call = call;
      if (this.over) call.cancel();
      else if (signal !== undefined) this.heed(signal);
      return call;
    } catch (error) {
      const unknown = MeshError.is(error) && error.code === 'UNIMPLEMENTED' && error.delivery === 'refused';
      if (!unknown || this.otherwise === undefined) throw error;
      return this.otherwise();
    }
  }

  private finish(): void {
    this.signal?.removeEventListener('abort', this.onAbort);
  }

  private heed(signal: AbortSignal): void {
    if (signal.aborted) this.onAbort();
    else signal.addEventListener('abort', this.onAbort, { once: true });
  }

  private readonly onAbort = (): void => {
    if (this.signal !== undefined) this.call?.fail(abortError(this.signal));
  };
}

function ignore(): void {
  // The call could not begin, and nobody wants it any more.
}
