/** The answer of a handler that gives an AsyncIterable or a generator. */
import { setImmediate } from 'node:timers/promises';
import type { InboundCall } from '../transport/inbound-call.js';
import type { Peer } from '../transport/peer.js';
import { attempt, describe, failUnfiltered, type Answering, type ReplyLogger } from './reply-errors.js';

/** A generator that never waits would keep the process from everything else, the cancel of its caller included. */
const BURST = 256;

/** What is sent value by value. */
export type Stream = AsyncIterable<unknown> | Iterable<unknown>;

/** True for async iterables and generators; arrays and other iterables are values. */
export function isStream(value: unknown): value is Stream {
  if (typeof value !== 'object' || value === null) return false;
  if (Symbol.asyncIterator in value) return true;
  // The tag costs more than the question whether there can be one.
  return 'next' in value && Object.prototype.toString.call(value) === '[object Generator]';
}

export class IterableReply implements Answering {
  constructor(
    readonly call: InboundCall,
    readonly peer: Peer,
    private readonly done: () => void,
    readonly logger: ReplyLogger,
  ) {}

  run(stream: Stream): void {
    const { call, logger } = this;
    pump(this, stream)
      .then(
        () => attempt(this, () => call.complete()),
        (error: unknown) => attempt(this, () => failUnfiltered(this, error)),
      )
      .finally(this.done)
      .catch((error: unknown) => logger.error(describe(error)));
  }
}

/**
 * Sends the values at the pace of the caller; a cancelled call ends the iterator. A value that cannot be written ends the call.
 */
export async function pump(answering: Answering, stream: Stream): Promise<void> {
  const { call } = answering;
  const iterator =
    Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
  let over = false;
  let sent = 0;
  const giveUp = (): void => {
    // A generator that waits ends when what it waits for does; its `finally` runs then.
    if (!over) void Promise.resolve(iterator.return?.()).catch(() => undefined);
    over = true;
  };
  const cancelled = new Promise<void>((resolve) => {
    const onCancel = call.onCancel;
    call.onCancel = () => {
      onCancel?.();
      resolve();
      giveUp();
    };
  });
  try {
    while (call.open) {
      const result = await iterator.next();
      if (result.done === true) {
        over = true;
        return;
      }
      if (!call.open || !attempt(answering, () => call.next(result.value))) break;
      if (call.congested) await Promise.race([call.ready(), cancelled]);
      sent += 1;
      if (sent % BURST === 0) await setImmediate();
    }
    giveUp();
  } catch (error) {
    giveUp();
    if (call.open) throw error;
  }
}
