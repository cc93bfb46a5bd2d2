/** What a handler gives back, as the packets of an answer: exactly one terminal packet, after every value and in order. */
import { RpcException } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { isObservable, type Observable, type Observer, type Subscription } from 'rxjs';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundCall } from '../transport/inbound-call.js';

/** Nest's words for an error whose cause callers must not see. */
const MASKED = { status: 'error', message: 'Internal server error' } as const;

/** A generator that never waits would keep the process from everything else, the cancel of its caller included. */
const BURST = 256;

/** Told of what callers are not told. */
export interface ReplyLogger {
  error(message: string): void;
}

/** Answers `call` with what its handler gave: a value, an Observable, an AsyncIterable or a generator. `done` runs once. */
export function reply(call: InboundCall, result: unknown, done: () => void, logger: ReplyLogger): void {
  if (isObservable(result)) new ObservableReply(call, done, logger).run(result);
  else if (isStream(result)) new IterableReply(call, done, logger).run(result);
  else {
    attempt(call, logger, () => call.respond(result));
    done();
  }
}

/** Answers `call` with what its handler threw although Nest's filters have seen it: a filter that throws, a broken proxy. */
export function replyFailure(call: InboundCall, error: unknown, logger: ReplyLogger): void {
  const err = masked(logger, `a handler failed outside of its exception filters: ${describe(error)}`);
  attempt(call, logger, () => call.fail(err));
}

type Stream = AsyncIterable<unknown> | Iterable<unknown>;

/** True for async iterables and generators; arrays and other iterables are values. */
export function isStream(value: unknown): value is Stream {
  if (typeof value !== 'object' || value === null) return false;
  return Symbol.asyncIterator in value || Object.prototype.toString.call(value) === '[object Generator]';
}

/**
 * A value is held until the next one, the end, or the end of the turn, so that the last value and the end share a packet
 * where they come together (every unary answer behind an interceptor).
 */
class ObservableReply implements Observer<unknown> {
  private subscription: Subscription | undefined;
  private held: unknown;
  private isHeld = false;
  private finished = false;
  /** Iterables among the values are unrolled in their place; what comes after them waits. */
  private tail: Promise<void> | undefined;

  constructor(
    private readonly call: InboundCall,
    private readonly done: () => void,
    private readonly logger: ReplyLogger,
  ) {}

  run(source: Observable<unknown>): void {
    if (!this.call.open) {
      // The caller left while the handler was on its way to this Observable: nobody would ever unsubscribe from it.
      this.finish();
      return;
    }
    this.call.onCancel = () => this.stop();
    const subscription = source.subscribe(this);
    if (this.finished) subscription.unsubscribe();
    else this.subscription = subscription;
  }

  readonly next = (value: unknown): void => {
    if (this.finished) return;
    if (this.tail !== undefined || isStream(value)) {
      this.after(async () => (isStream(value) ? this.unroll(value) : this.send(value)));
      return;
    }
    if (this.isHeld) this.flush();
    else process.nextTick(this.flush);
    this.held = value;
    this.isHeld = true;
  };

  readonly error = (error: unknown): void => {
    const fail = (): void => this.end(() => this.call.fail(errorOnWire(error, this.logger)));
    if (this.tail !== undefined) this.after(fail);
    else {
      this.flush();
      fail();
    }
  };

  readonly complete = (): void => {
    if (this.tail !== undefined) this.after(() => this.end(() => this.call.complete()));
    else if (this.isHeld) {
      this.isHeld = false;
      this.end(() => this.call.respond(this.held));
    } else this.end(() => this.call.complete());
  };

  private after(step: () => void | Promise<void>): void {
    this.flush();
    this.tail = (this.tail ?? Promise.resolve()).then(step).catch((error: unknown) => {
      if (this.finished) return;
      this.subscription?.unsubscribe();
      this.end(() => this.call.fail(failureOnWire(error, this.logger)));
    });
  }

  private async unroll(stream: Stream): Promise<void> {
    await pump(this.call, stream, this.logger);
    if (!this.call.open) this.stop();
  }

  private readonly flush = (): void => {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.send(this.held);
  };

  private send(value: unknown): void {
    if (this.finished) return;
    if (!attempt(this.call, this.logger, () => this.call.next(value))) this.stop();
  }

  private stop(): void {
    this.subscription?.unsubscribe();
    this.finish();
  }

  private end(step: () => void): void {
    if (this.finished) return;
    attempt(this.call, this.logger, step);
    this.finish();
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.isHeld = false;
    this.done();
  }
}

class IterableReply {
  constructor(
    private readonly call: InboundCall,
    private readonly done: () => void,
    private readonly logger: ReplyLogger,
  ) {}

  run(stream: Stream): void {
    const { call, logger } = this;
    pump(call, stream, logger)
      .then(
        () => attempt(call, logger, () => call.complete()),
        (error: unknown) => attempt(call, logger, () => call.fail(failureOnWire(error, logger))),
      )
      .finally(this.done)
      .catch((error: unknown) => logger.error(describe(error)));
  }
}

/**
 * Sends the values at the pace of the caller; a cancelled call ends the iterator. A value that cannot be written ends the call.
 */
async function pump(call: InboundCall, stream: Stream, logger: ReplyLogger): Promise<void> {
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
      if (!call.open || !attempt(call, logger, () => call.next(result.value))) break;
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

/** Runs a step of the answer; when it cannot be written the caller gets an error in its place. False then. */
function attempt(call: InboundCall, logger: ReplyLogger, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    try {
      call.fail(unwritable(error, call, logger));
    } catch (second) {
      // The channel itself is gone, and with it the caller.
      logger.error(`an answer could not be sent: ${describe(second)}`);
    }
    return false;
  }
}

/** Too large is the caller's business and says what to do; what cannot be serialized is the callee's, and masked. */
function unwritable(error: unknown, call: InboundCall, logger: ReplyLogger): unknown {
  const text = `the answer to ${JSON.stringify(call.pattern)} could not be sent: ${describe(error)}`;
  if (!MeshError.is(error) || error.code !== 'RESOURCE_EXHAUSTED') return masked(logger, text);
  logger.error(text);
  return error.withDelivery('unknown').toWire();
}

/** An error that has passed Nest's filters: as it is, but never as something that JSON or the caller takes for no error. */
function errorOnWire(error: unknown, logger: ReplyLogger): unknown {
  if (MeshError.is(error)) return error.toJSON();
  if (isCrash(error)) return masked(logger, `an exception filter failed: ${describe(error)}`);
  if (error instanceof Error) return { status: 'error', message: error.message };
  if (error && typeof error !== 'function' && typeof error !== 'symbol') return error;
  return masked(logger, `an exception filter gave what cannot be sent as an error: ${describe(error)}`);
}

/** What the language throws is a fault of the program (in a filter, or a filter's plain value in an Observable), not a message. */
function isCrash(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

/** An error that no filter has seen, since it came out of an iterable: as Nest's own last filter would say it. */
function failureOnWire(error: unknown, logger: ReplyLogger): unknown {
  if (MeshError.is(error)) return error.toJSON();
  if (error instanceof RpcException) {
    const payload: unknown = error.getError();
    if (typeof payload === 'object' && payload !== null) return errorOnWire(payload, logger);
    return { status: 'error', message: payload };
  }
  return masked(logger, describe(error));
}

/**
 * The id stays in the log: callers compare this shape to the letter, as on Nest's other transports. `MeshExceptionFilter` is
 * the way to show it to them.
 */
function masked(logger: ReplyLogger, text: string): typeof MASKED {
  logger.error(`errorId ${randomUUID()}: ${text}`);
  return MASKED;
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
