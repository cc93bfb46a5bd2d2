/** What a handler gives back, as the packets of an answer: exactly one terminal packet, after every value and in order. */
import { isObservable } from 'rxjs';
import type { InboundCall } from '../transport/inbound-call.js';
import type { Peer } from '../transport/peer.js';
import { IterableReply, isStream } from './iterable-reply.js';
import { ObservableReply } from './observable-reply.js';
import {
  attempt,
  describe,
  failMasked,
  failUnwritable,
  type Answering,
  type ReplyLogger,
} from './reply-errors.js';

/** Answers `call` with what its handler gave: a value, an Observable, an AsyncIterable or a generator. `done` runs once. */
export function reply(
  call: InboundCall,
  peer: Peer,
  result: unknown,
  done: () => void,
  logger: ReplyLogger,
): void {
  if (isObservable(result)) new ObservableReply(call, peer, done, logger).run(result);
  else if (isStream(result)) new IterableReply(call, peer, done, logger).run(result);
  else {
    try {
      call.respond(result);
    } catch (error) {
      failUnwritable({ call, peer, logger }, error);
    }
    done();
  }
}

/** Answers a call with what its handler threw although Nest's filters have seen it: a filter that throws, a broken proxy. */
export function replyFailure(answering: Answering, error: unknown): void {
  const text = `a handler failed outside of its exception filters: ${describe(error)}`;
  attempt(answering, () => failMasked(answering, text));
}
