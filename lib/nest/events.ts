/** Event handlers: nobody waits for them, so what they give is used up and what they throw is logged. */
import type { MessageHandler } from '@nestjs/microservices';
import { RequestContextHost } from '@nestjs/microservices/context/request-context-host.js';
import { isObservable } from 'rxjs';
import type { MeshContext } from './mesh.context.js';
import { isStream } from './iterable-reply.js';

/** Told of the failures. */
export interface EventLogger {
  error(error: unknown): void;
}

/** An event and the handlers of its pattern. */
export interface HandledEvent {
  readonly handlers: readonly MessageHandler[];
  readonly data: unknown;
  readonly context: MeshContext;
}

/**
 * Runs every handler to the end of what it gives, then `done`. Never rejects: what a processing hook does with the promise is
 * not known.
 *
 * Nest chains the handlers of a pattern by `next` and joins them by `forkJoin`, where one that fails or gives nothing ends
 * the Observables of all others. Here each runs on its own; as in Nest, request-scoped ones share one context.
 */
export async function runEvent(event: HandledEvent, done: () => void, logger: EventLogger): Promise<void> {
  const { handlers, data, context } = event;
  if (handlers.length === 1) await runHandler(() => handlers[0]?.(data, context), logger);
  else {
    const host: unknown = RequestContextHost.create(context.getPattern(), data, context);
    await Promise.all(
      handlers.map((handler) =>
        runHandler(() => Reflect.apply(handler, undefined, [host, data, context]), logger),
      ),
    );
  }
  done();
}

async function runHandler(handle: () => unknown, logger: EventLogger): Promise<void> {
  try {
    const result = await handle();
    if (isObservable(result)) {
      await new Promise<void>((resolve) => {
        // Nest has logged the failure of the handler already.
        result.subscribe({ error: () => resolve(), complete: resolve });
      });
    } else if (isStream(result)) for await (const _ of result);
  } catch (error) {
    logger.error(error);
  }
}
