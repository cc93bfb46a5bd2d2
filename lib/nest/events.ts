/** Event handlers: what they give is used up, and what they throw is logged, or told to the sender that waits for them. */
import type { MessageHandler } from '@nestjs/microservices';
import { RequestContextHost } from '@nestjs/microservices/context/request-context-host.js';
import { isObservable, type Observable } from 'rxjs';
import type { InboundCall } from '../transport/inbound-call.js';
import { isPromiseLike } from './foreign.js';
import { isStream, type Stream } from './iterable-reply.js';
import type { MeshContext } from './mesh.context.js';
import { replyFailure } from './replies.js';
import { attempt, failFiltered, failUnfiltered, type Answering } from './reply-errors.js';

/** Told of the failures. */
export interface EventLogger {
  error(error: unknown): void;
}

/** An event and the handlers of its pattern. */
export interface HandledEvent {
  readonly handlers: readonly MessageHandler[];
  readonly data: unknown;
  readonly context: MeshContext;
  /** Waits until all handlers have ended; `undefined`: nobody does. */
  readonly call: InboundCall | undefined;
}

/** A handler that failed: inside Nest's filters, which have logged it; in an iterable that they do not see; or in a filter. */
interface Failure {
  readonly where: 'filtered' | 'iterable' | 'outside';
  readonly error: unknown;
}

/**
 * Runs every handler to the end of what it gives, answers the call that waits for them, and then `done`. Resolves with true when
 * one has failed. Never rejects: what a processing hook does with the promise is not known.
 *
 * Nest chains the handlers of a pattern by `next` and joins them by `forkJoin`, where one that fails or gives nothing ends
 * the Observables of all others. Here each runs on its own; as in Nest, request-scoped ones share one context.
 */
export async function runEvent(event: HandledEvent, done: () => void, logger: EventLogger): Promise<boolean> {
  const { handlers, data, context, call } = event;
  const signal = call?.signal;
  const only = handlers.length === 1 ? handlers[0] : undefined;
  const failures =
    only === undefined
      ? await runAll(event, signal)
      : asList(await runHandler(only, [data, context], signal));
  // The failure that came first is the one that the sender is told, which logs it where Nest has not.
  const untold = call === undefined ? failures : failures.slice(1);
  for (const failure of untold) logFailure(failure, logger);
  if (call !== undefined) acknowledge({ call, peer: context.peer, logger }, failures[0]);
  done();
  return failures.length > 0;
}

/** Handlers for which nobody waits, outside of hooks: as {@link runEvent} runs a single one, with no promise but the handler's own. */
export class UnawaitedEvents {
  constructor(
    private readonly logger: EventLogger,
    /** A handler has failed. */
    private readonly onFailed: () => void,
  ) {}

  run(handler: MessageHandler, data: unknown, context: MeshContext): void {
    let result: unknown;
    try {
      result = handler(data, context);
    } catch (error) {
      this.onThrown(error);
      return;
    }
    if (isPromiseLike(result)) result.then(this.onResult, this.onThrown);
    else this.onResult(result);
  }

  private readonly onResult = (result: unknown): void => {
    const end = endOf(result, undefined);
    if (end !== undefined) void end.then((failure) => failure && this.fail(failure));
  };

  private readonly onThrown = (error: unknown): void => this.fail({ where: 'outside', error });

  private fail(failure: Failure): void {
    logFailure(failure, this.logger);
    this.onFailed();
  }
}

/** A filter that throws gives an Error, and Nest logs only what filters are given. */
function logFailure({ where, error }: Failure, logger: EventLogger): void {
  if (where !== 'filtered' || error instanceof Error) logger.error(error);
}

const NO_FAILURES: readonly Failure[] = [];

function asList(failure: Failure | undefined): readonly Failure[] {
  return failure === undefined ? NO_FAILURES : [failure];
}

/** The failures, in the order in which they came. */
async function runAll(
  { handlers, data, context }: HandledEvent,
  signal: AbortSignal | undefined,
): Promise<readonly Failure[]> {
  const failures: Failure[] = [];
  const host: unknown = RequestContextHost.create(context.getPattern(), data, context);
  await Promise.all(
    handlers.map(async (handler) => {
      const failure = await runHandler(handler, [host, data, context], signal);
      if (failure !== undefined) failures.push(failure);
    }),
  );
  return failures;
}

function acknowledge(answering: Answering, failure: Failure | undefined): void {
  if (failure?.where === 'outside') {
    replyFailure(answering, failure.error);
    return;
  }
  attempt(answering, () => {
    if (failure === undefined) answering.call.complete();
    else if (failure.where === 'filtered') failFiltered(answering, failure.error);
    else failUnfiltered(answering, failure.error);
  });
}

/** Ends when the handler has, or when the sender no longer wants it to go on. */
async function runHandler(
  handler: MessageHandler,
  args: unknown[],
  signal: AbortSignal | undefined,
): Promise<Failure | undefined> {
  try {
    return await endOf(await Reflect.apply(handler, undefined, args), signal);
  } catch (error) {
    return { where: 'outside', error };
  }
}

/** Ends when what a handler gave has; `undefined` when that was no stream. */
function endOf(result: unknown, signal: AbortSignal | undefined): Promise<Failure | undefined> | undefined {
  if (isObservable(result)) return exhaust(result, signal);
  return isStream(result) ? drainStream(result, signal) : undefined;
}

/** Behind an interceptor, an iterable comes as the value of an Observable. */
function exhaust(source: Observable<unknown>, signal: AbortSignal | undefined): Promise<Failure | undefined> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve(undefined);
      return;
    }
    const drains: Promise<Failure | undefined>[] = [];
    const subscription = source.subscribe({
      next: (value) => {
        if (isStream(value)) drains.push(drainStream(value, signal));
      },
      error: (error: unknown) => resolve({ where: 'filtered', error }),
      complete: () =>
        void Promise.all(drains).then((ends) => resolve(ends.find((failure) => failure !== undefined))),
    });
    if (signal === undefined || subscription.closed) return;
    const stop = (): void => {
      subscription.unsubscribe();
      resolve(undefined);
    };
    signal.addEventListener('abort', stop, { once: true });
    subscription.add(() => signal.removeEventListener('abort', stop));
  });
}

async function drainStream(stream: Stream, signal: AbortSignal | undefined): Promise<Failure | undefined> {
  const iterator =
    Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
  const stop = (): void => {
    // A generator that waits ends when what it waits for does; its `finally` runs then.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  };
  if (signal?.aborted === true) stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    while ((await iterator.next()).done !== true);
    return undefined;
  } catch (error) {
    return { where: 'iterable', error };
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
