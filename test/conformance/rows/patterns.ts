/** Patterns: which handler a message finds. */
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, type BaseRpcContext } from '@nestjs/microservices';
import { eventually } from '../../support/eventually.js';
import { answer, answers, failed, got, NO_HANDLER, settled } from '../outcome.js';
import type { Section } from '../row.js';

const LIKE_JSON = ['1.0', '1e3', 'null', 'true', '"quoted"', '[1]'];

interface PatternContext extends BaseRpcContext {
  getPattern(): string;
}

@Controller()
class PatternController {
  readonly events: unknown[] = [];

  @MessagePattern('plain')
  plain(): string {
    return 'plain';
  }
  @MessagePattern({ cmd: 'sum', version: { major: 1, minor: 2 } })
  object(@Payload() data: unknown, @Ctx() ctx: PatternContext): unknown {
    return data === 'pattern' ? ctx.getPattern() : 'object';
  }
  @MessagePattern(['first', { also: 'second' }, 3])
  several(@Payload() _data: unknown, @Ctx() ctx: PatternContext): string {
    return ctx.getPattern();
  }
  @MessagePattern(LIKE_JSON)
  likeJson(): string {
    return 'found';
  }
  @MessagePattern('')
  empty(): string {
    return 'empty';
  }
  @MessagePattern('odd / *?:.>ü\u2028')
  odd(): string {
    return 'odd';
  }
  @EventPattern<unknown>('only-event')
  onlyEvent(data: unknown): void {
    this.events.push(data);
  }
  @MessagePattern('only-message')
  onlyMessage(data: unknown): string {
    this.events.push(data);
    return 'dropped';
  }
}

@Controller()
class BooleanController {
  @MessagePattern(true as never)
  boolean(): string {
    return 'boolean';
  }
}

@Controller()
class MessageThenEvent {
  readonly events: unknown[] = [];
  @MessagePattern('both')
  message(): string {
    return 'message';
  }
  @EventPattern<unknown>('both')
  event(data: unknown): void {
    this.events.push(data);
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class EventThenMessage {
  readonly events: unknown[] = [];
  @EventPattern<unknown>('both')
  event(data: unknown): void {
    this.events.push(data);
  }
  @MessagePattern('both')
  message(): string {
    return 'message';
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class Twice {
  @MessagePattern('twice')
  first(): string {
    return 'first';
  }
  @MessagePattern('twice')
  second(): string {
    return 'second';
  }
}

@Controller()
class Wildcards {
  readonly events: string[] = [];
  @EventPattern<unknown>('order.*')
  one(name: string): void {
    this.events.push(`*: ${name}`);
  }
  @EventPattern<unknown>('order.>')
  rest(name: string): void {
    this.events.push(`>: ${name}`);
  }
  @MessagePattern('fence')
  fence(): void {}
}

function deepPattern(depth: number): unknown {
  let pattern: unknown = 'end';
  for (let at = 0; at < depth; at += 1) pattern = { deep: pattern };
  return pattern;
}

export const PATTERNS: Section = {
  title: 'Patterns',
  rows: [
    {
      id: 'patterns.string',
      title: 'A string pattern finds its handler, whatever characters it has.',
      both: [got('plain'), got('odd'), got('empty')],
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        return answers(client, ['plain', 'odd / *?:.>ü\u2028', '']);
      },
    },
    {
      id: 'patterns.object',
      title:
        'An object pattern finds its handler in any order of its keys, also written as JSON by the caller.',
      both: [got('object'), got('object'), got('object')],
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        const turned = { version: { minor: 2, major: 1 }, cmd: 'sum' };
        return answers(client, [
          { cmd: 'sum', version: { major: 1, minor: 2 } },
          turned,
          JSON.stringify(turned),
        ]);
      },
    },
    {
      id: 'patterns.several',
      title: 'A handler of several patterns is found by each, and the context says by which.',
      both: [got('first'), got('{"also":"second"}'), got('3')],
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        return answers(client, ['first', { also: 'second' }, 3]);
      },
    },
    {
      id: 'patterns.context',
      title: 'The context gives an object pattern as a string.',
      tcp: {
        says: 'as the caller ordered its keys',
        sees: got('{"version":{"minor":2,"major":1},"cmd":"sum"}'),
      },
      mesh: {
        says: 'normalised, as the handler was registered',
        sees: got('{"cmd":"sum","version":{"major":1,"minor":2}}'),
      },
      why: 'One handler has one name in logs and metrics, whoever calls it.',
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        return answer(client, { version: { minor: 2, major: 1 }, cmd: 'sum' }, 'pattern');
      },
    },
    {
      id: 'patterns.boolean',
      title: 'A boolean can be a pattern.',
      both: [got('boolean'), failed(NO_HANDLER)],
      async observe(stage) {
        const { client } = await stage.serve(BooleanController);
        return answers(client, [true, false]);
      },
    },
    {
      id: 'patterns.like-json',
      title: "A string that reads as JSON ('1.0', '1e3', 'null', 'true', '[1]', ...) can be a pattern.",
      tcp: { says: 'never found', sees: LIKE_JSON.map(() => failed(NO_HANDLER)) },
      mesh: { says: 'found', sees: LIKE_JSON.map(() => got('found')) },
      why: 'Nest registers the string as it is but parses it as JSON to look it up; the mesh looks it up as it is first.',
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        return answers(client, LIKE_JSON);
      },
    },
    {
      id: 'patterns.unknown',
      title: 'A call that nobody handles fails with a string that says so, however odd the pattern.',
      both: Array.from({ length: 9 }, () => failed(NO_HANDLER)),
      async observe(stage) {
        const { client } = await stage.serve(PatternController);
        const odd = ['plain ', 'toString', '__proto__', '{', {}, [], 0.5, deepPattern(4), deepPattern(30)];
        return answers(client, odd);
      },
    },
    {
      id: 'patterns.call-to-event',
      title: 'A call to a pattern that only has an event handler.',
      tcp: { says: 'runs the handler and completes without a value', sees: [got(), ['data']] },
      mesh: { says: 'fails: no matching message handler', sees: [failed(NO_HANDLER), []] },
      why: 'A call that expects an answer from a handler that gives none is a mistake, and is told so.',
      async observe(stage) {
        const { client, module } = await stage.serve(PatternController);
        return [await answer(client, 'only-event', 'data'), module.get(PatternController).events];
      },
    },
    {
      id: 'patterns.event-to-message',
      title: 'An event to a pattern that only has a message handler runs it and drops the answer.',
      both: ['data'],
      async observe(stage) {
        const { client, module } = await stage.serve(PatternController);
        const { events } = module.get(PatternController);
        client.emit('only-message', 'data');
        await eventually('the handler runs', () => events.length > 0);
        return events;
      },
    },
    {
      id: 'patterns.message-then-event',
      title: 'A message handler and an event handler declared after it can share a pattern.',
      tcp: { says: 'the event handler never runs', sees: [got('message'), []] },
      mesh: { says: 'each gets its own', sees: [got('message'), ['event']] },
      why: 'Nest keeps both kinds in one map, where one hides the other; the mesh keeps two.',
      async observe(stage) {
        const { client, module } = await stage.serve(MessageThenEvent);
        client.emit('both', 'event');
        const called = await answer(client, 'both');
        await answer(client, 'fence');
        return [called, module.get(MessageThenEvent).events];
      },
    },
    {
      id: 'patterns.event-then-message',
      title: 'An event handler and a message handler declared after it can share a pattern.',
      tcp: { says: 'the event handler never runs', sees: [got('message'), []] },
      mesh: { says: 'each gets its own', sees: [got('message'), ['event']] },
      why: 'Nest keeps both kinds in one map, where one hides the other; the mesh keeps two.',
      async observe(stage) {
        const { client, module } = await stage.serve(EventThenMessage);
        client.emit('both', 'event');
        const called = await answer(client, 'both');
        await answer(client, 'fence');
        return [called, module.get(EventThenMessage).events];
      },
    },
    {
      id: 'patterns.twice',
      title: 'Two message handlers with the same pattern.',
      tcp: { says: 'the last one answers', sees: got('second') },
      mesh: {
        says: 'refused at start',
        sees: { error: { is: 'MeshError', code: 'INVALID_ARGUMENT', delivery: 'not-sent' } },
      },
      why: 'One handler would never run; `duplicateHandlers` can be set to `warn`, and then the last one answers.',
      observe: (stage) => settled(stage.serve(Twice).then(({ client }) => answer(client, 'twice'))),
    },
    {
      id: 'patterns.wildcards',
      title: 'An event pattern with wildcards, `order.*` or `order.>`, takes the events that match it.',
      tcp: { says: 'only an event of that very name', sees: [] },
      mesh: {
        says: 'all that match',
        sees: ['*: order.created', '>: order.created', '>: order.item.added'],
      },
      why: 'Nest leaves wildcards to brokers that have them, as NATS; the mesh has them without a broker.',
      async observe(stage) {
        const { client, module } = await stage.serve(Wildcards);
        for (const name of ['order', 'order.created', 'order.item.added']) client.emit(name, name);
        await answer(client, 'fence');
        return module.get(Wildcards).events.sort();
      },
    },
  ],
};
