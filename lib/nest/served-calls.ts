/** The call side of the server: a call runs its handler, within the limits of that one, and what comes of it is the answer. */
import type { Logger } from '@nestjs/common';
import type { MessageHandler } from '@nestjs/microservices';
import { NO_MESSAGE_HANDLER } from '@nestjs/microservices/constants.js';
import type { MeshNode } from '../node/mesh-node.js';
import type { CallTurn, InboundCall } from '../transport/inbound-call.js';
import type { Origin } from '../transport/packet-channel.js';
import { CallSource } from './context-sources.js';
import { guard, isPromiseLike } from './foreign.js';
import { MeshContext } from './mesh.context.js';
import type { ServedMessage } from './message-routes.js';
import { reply, replyFailure } from './replies.js';
import type { Hooked } from './served-events.js';

const doNothing = (): void => undefined;

/** The turn of the call lasts until its handler has ended. */
function holding(turn: CallTurn, done: () => void): () => void {
  turn.hold();
  return () => {
    done();
    turn.release();
  };
}

export class ServedCalls {
  /** True once somebody has set a processing hook. */
  isHooked = false;

  constructor(
    private readonly node: MeshNode,
    private readonly logger: Logger,
    private readonly hooked: Hooked,
  ) {}

  /** Gives the call to the handler of its route. */
  serve(call: InboundCall, origin: Origin, route: string, served: ServedMessage | undefined): void {
    if (served === undefined) {
      call.fail(NO_MESSAGE_HANDLER);
      return;
    }
    const { handler, limits } = served;
    if (limits?.begin(call) === false) return;
    const { turn } = call;
    let done = limits === undefined ? doNothing : limits.end;
    if (turn !== undefined) done = holding(turn, done);
    const context = new MeshContext([new CallSource(call, origin, this.node), route]);
    if (this.isHooked) this.runHooked(call, handler, context, done);
    else this.run(call, handler, context, done);
  }

  private run(call: InboundCall, handler: MessageHandler, context: MeshContext, done: () => void): void {
    const { logger } = this;
    let result: unknown;
    try {
      result = handler(call.data, context);
    } catch (error) {
      replyFailure({ call, peer: context.peer, logger }, error);
      done();
      return;
    }
    if (isPromiseLike(result)) {
      result.then(
        (value) => reply(call, context.peer, value, done, logger),
        (error: unknown) => {
          replyFailure({ call, peer: context.peer, logger }, error);
          done();
        },
      );
    } else reply(call, context.peer, result, done, logger);
  }

  private runHooked(
    call: InboundCall,
    handler: MessageHandler,
    context: MeshContext,
    ended: () => void,
  ): void {
    let begun = false;
    const begin = async (done: () => void): Promise<void> => {
      begun = true;
      this.run(call, handler, context, () => {
        ended();
        done();
      });
    };
    guard(
      () => this.hooked(context, begin),
      (error) => {
        if (begun) {
          this.logger.error(error);
          return;
        }
        ended();
        replyFailure({ call, peer: context.peer, logger: this.logger }, error);
      },
    );
  }
}
