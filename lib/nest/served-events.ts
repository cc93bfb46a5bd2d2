/** The event side of the server: who gets an event, what the sender is told, and what is counted. */
import type { MessageHandler } from '@nestjs/microservices';
import { NO_EVENT_HANDLER } from '@nestjs/microservices/constants.js';
import type { MeshNode } from '../node/mesh-node.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundEvent, Origin } from '../transport/packet-channel.js';
import { EventSource } from './context-sources.js';
import { runEvent, UnawaitedEvents, type EventLogger, type HandledEvent } from './events.js';
import { guard } from './foreign.js';
import { MeshContext } from './mesh.context.js';
import { replyFailure } from './replies.js';

/** Runs a step between the processing hooks of the server; the step calls `done` at its end. */
export type Hooked = (context: MeshContext, step: (done: () => void) => Promise<void>) => unknown;

export class ServedEvents {
  /** True once somebody has set a processing hook. */
  isHooked = false;
  private readonly unawaited: UnawaitedEvents;

  constructor(
    private readonly node: MeshNode,
    private readonly logger: EventLogger,
    private readonly hooked: Hooked,
  ) {
    this.unawaited = new UnawaitedEvents(logger, () => {
      node.eventCounts.failed += 1;
    });
  }

  /** Gives the event to these handlers of its route. Never throws but for an answer that cannot be written. */
  serve(event: InboundEvent, origin: Origin, route: string, handlers: readonly MessageHandler[]): void {
    const { node, logger } = this;
    const call = event.acknowledge?.call;
    if (handlers.length === 0) {
      const message = NO_EVENT_HANDLER`${route}`;
      node.eventCounts.unhandled += 1;
      logger.error(message);
      call?.fail(new MeshError('UNIMPLEMENTED', message, { delivery: 'refused' }).toWire());
      return;
    }
    const context = new MeshContext([new EventSource(event, origin, node), route]);
    const waiting = event.acknowledge?.when === 'handled' ? call : undefined;
    const [only] = handlers;
    if (only !== undefined && handlers.length === 1 && waiting === undefined && !this.isHooked) {
      this.unawaited.run(only, event.data, context);
      return;
    }
    const handled: HandledEvent = { handlers, data: event.data, context, call: waiting };
    guard(
      () =>
        this.hooked(context, async (done) => {
          if (await runEvent(handled, done, logger)) node.eventCounts.failed += 1;
        }),
      (error) => {
        if (call?.open === true) replyFailure({ call, peer: context.peer, logger }, error);
        else logger.error(error);
      },
    );
  }
}
