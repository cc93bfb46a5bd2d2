/** Which handler answers a message, and within which limits. */
import type { MessageHandler } from '@nestjs/microservices';
import type { DeadlineQueue } from '../transport/deadline-queue.js';
import type { HandlerNames } from './handler-claims.js';
import { readHandlerExtras } from './handler-extras.js';
import { HandlerLimits } from './handler-limits.js';
import { takingObservable } from './observable-input.js';

/** The handler of one route. */
export interface ServedMessage {
  readonly handler: MessageHandler;
  /** `undefined` when its extras set none. */
  readonly limits: HandlerLimits | undefined;
}

/** Extras that are not valid. */
interface ExtrasFault {
  readonly route: string;
  readonly extras: object;
  readonly faults: readonly string[];
}

/** The message handlers of a server by route; of several with one route the last one stands. */
export class MessageRoutes {
  private readonly byRoute = new Map<string, ServedMessage>();
  private readonly idempotentRoutes = new Set<string>();
  private readonly bad: ExtrasFault[] = [];

  add(
    route: string,
    handler: MessageHandler,
    extras: Readonly<Record<string, unknown>>,
    deadlines: DeadlineQueue,
  ): void {
    const { faults, ...read } = readHandlerExtras(extras);
    if (faults.length > 0) this.bad.push({ route, extras, faults });
    const isLimited = read.timeoutMs > 0 || read.maxConcurrency < Infinity;
    const limits = isLimited ? new HandlerLimits(route, read, deadlines) : undefined;
    const asked = read.input === 'observable' ? takingObservable(handler) : handler;
    this.byRoute.set(route, { handler: asked, limits });
    if (read.idempotent) this.idempotentRoutes.add(route);
    else this.idempotentRoutes.delete(route);
  }

  has(route: string): boolean {
    return this.byRoute.has(route);
  }

  get(route: string): ServedMessage | undefined {
    return this.byRoute.get(route);
  }

  /** The routes whose handlers say that they are idempotent, sorted. */
  get idempotent(): readonly string[] {
    return [...this.idempotentRoutes].toSorted();
  }

  /** What is wrong with the extras of the handlers, one sentence each. */
  faults(names: HandlerNames | undefined): readonly string[] {
    const sentences = this.bad.flatMap(({ route, extras, faults }) => {
      const owners = names?.(extras) ?? [];
      const owner = owners.length > 0 ? owners.join(', ') : 'with MeshModule its name would stand here';
      return faults.map((fault) => `the extras of the message pattern "${route}" (${owner}): ${fault}`);
    });
    // A controller in several modules has made the same fault only once.
    return [...new Set(sentences)];
  }
}
