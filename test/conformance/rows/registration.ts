/** Registration: which methods become handlers, and what tools can read about them. */
import { Controller, Injectable } from '@nestjs/common';
import { EventPattern, MessagePattern, Transport, type MessageHandler } from '@nestjs/microservices';
import { answers, failed, got, NO_HANDLER } from '../outcome.js';
import type { Section } from '../row.js';

@Controller()
class Annotated {
  @MessagePattern('bare')
  bare(): void {}
  @MessagePattern('annotated', { role: 'reader', depth: { of: 1 } })
  annotated(): void {}
  @MessagePattern('merged', { first: 1, both: 'kept' })
  @MessagePattern('merged', { second: 2 })
  merged(): void {}
  @EventPattern<unknown>('event', { weight: 3 })
  event(): void {}
}

@Injectable()
class ProviderWithPattern {
  @MessagePattern('of-a-provider')
  handle(): string {
    return 'never';
  }
}

@Controller()
class Sum {
  @MessagePattern({ cmd: 'sum', b: 1 })
  sum(): string {
    return 'sum';
  }
  @EventPattern<unknown>('event')
  event(): void {}
}

/** The transport of a decorator is known when the class is made. */
function handlersFor(own: Transport | symbol) {
  @Controller()
  class ByTransport {
    @MessagePattern('of-any')
    any(): string {
      return 'any';
    }
    @MessagePattern('of-this', own)
    mine(): string {
      return 'mine';
    }
    @MessagePattern('of-another', Transport.KAFKA)
    kafka(): string {
      return 'kafka';
    }
    @MessagePattern('of-this-with-extras', own, { extra: true })
    extra(): string {
      return 'extra';
    }
  }
  return ByTransport;
}

function extrasOf(handlers: Map<string, MessageHandler>, route: string): unknown {
  return handlers.get(route)?.extras;
}

export const REGISTRATION: Section = {
  title: 'Registration of handlers',
  rows: [
    {
      id: 'registration.transport',
      title: 'Handlers of every transport and of this one are served; those of another transport are not.',
      both: [got('any'), got('mine'), failed(NO_HANDLER), got('extra')],
      async observe(stage) {
        const { client } = await stage.serve(handlersFor(stage.server().transportId));
        return answers(client, ['of-any', 'of-this', 'of-another', 'of-this-with-extras']);
      },
    },
    {
      id: 'registration.extras',
      title: 'The extras of a pattern stand on its handler; without any they are empty.',
      both: [{}, { role: 'reader', depth: { of: 1 } }, { weight: 3 }],
      async observe(stage) {
        const { server } = await stage.serve(Annotated);
        const handlers = server.getHandlers();
        return ['bare', 'annotated', 'event'].map((route) => extrasOf(handlers, route));
      },
    },
    {
      id: 'registration.extras-merged',
      title: 'Decorators that are repeated on a method merge their extras.',
      both: { second: 2, first: 1, both: 'kept' },
      async observe(stage) {
        const { server } = await stage.serve(Annotated);
        return extrasOf(server.getHandlers(), 'merged');
      },
    },
    {
      id: 'registration.map',
      title:
        'Tools find every handler in `getHandlers()` under its normalised pattern, and can tell events apart.',
      both: [
        ['{"b":1,"cmd":"sum"}', false],
        ['event', true],
      ],
      async observe(stage) {
        const { server } = await stage.serve(Sum);
        return [...server.getHandlers()]
          .map(([route, { isEventHandler }]) => [route, isEventHandler])
          .toSorted(([a], [b]) => String(a).localeCompare(String(b)));
      },
    },
    {
      id: 'registration.providers',
      title: 'Patterns are read from controllers only, not from providers.',
      both: [failed(NO_HANDLER)],
      async observe(stage) {
        const { client } = await stage.serve({ providers: [ProviderWithPattern] });
        return answers(client, ['of-a-provider']);
      },
    },
    {
      id: 'registration.before-listen',
      title: 'All handlers are registered before the server listens.',
      both: ['{"b":1,"cmd":"sum"}', 'event'],
      async observe(stage) {
        let seen: string[] = [];
        await stage.serve(Sum, {
          configure(_app, server) {
            const listen = server.listen.bind(server);
            server.listen = (callback: (error?: unknown) => void): void => {
              seen = [...server.getHandlers().keys()].toSorted((a, b) => a.localeCompare(b));
              listen(callback);
            };
          },
        });
        return seen;
      },
    },
  ],
};
