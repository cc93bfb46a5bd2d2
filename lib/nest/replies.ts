/** What a handler gives back, as the packets of an answer: exactly one terminal packet, after every value and in order. */
import { isObservable } from 'rxjs';
import type { InboundCall } from '../transport/inbound-call.js';
import { IterableReply, isStream } from './iterable-reply.js';
import { ObservableReply } from './observable-reply.js';
import { attempt, describe, masked, type ReplyLogger } from './reply-errors.js';

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
