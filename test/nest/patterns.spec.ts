/** Patterns: which handler a message finds. */
import { describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { MeshContext } from '../../lib/index.js';
import { useBench } from './nest-fixture.js';

@Controller()
class PatternController {
  readonly events: unknown[] = [];

  @MessagePattern('plain')
  plain(): string {
    return 'plain';
  }
  @MessagePattern({ cmd: 'sum', version: { major: 1, minor: 2 } })
  object(): string {
    return 'object';
  }
  @MessagePattern(['first', { also: 'second' }, 3])
  several(@Payload() _data: unknown, @Ctx() ctx: MeshContext): string {
    return ctx.getPattern();
  }
  @MessagePattern(['1.0', '1e3', 'null', 'true', '"quoted"', '[1]', ''])
  literal(_data: unknown, @Ctx() ctx?: MeshContext): string | undefined {
    return ctx?.getPattern();
  }
  @MessagePattern('both')
  message(): string {
    return 'message';
  }
  @EventPattern('both')
  event(data: unknown): void {
    this.events.push(data);
  }
  @EventPattern('only-event')
  onlyEvent(data: unknown): void {
    this.events.push(data);
  }
  @MessagePattern('over/ridden *?:ü')
  odd(): string {
    return 'odd';
  }
}

describe('the pattern of a message', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [PatternController] });

  it('finds the handler of a string', async () => {
    const { client } = await service();
    await expect(client.call('plain', {})).resolves.toBe('plain');
    await expect(client.call('over/ridden *?:ü', {})).resolves.toBe('odd');
  });

  it('finds the handler of an object in any order of keys, also written as JSON by the caller', async () => {
    const { client } = await service();
    const wanted = { version: { minor: 2, major: 1 }, cmd: 'sum' };
    await expect(client.call(wanted, {})).resolves.toBe('object');
    await expect(client.call(JSON.stringify(wanted), {})).resolves.toBe('object');
  });

  it('finds the same handler by each of several patterns, and the context says by which', async () => {
    const { client } = await service();
    await expect(client.call('first', {})).resolves.toBe('first');
    await expect(client.call({ also: 'second' }, {})).resolves.toBe('{"also":"second"}');
    await expect(client.call(3, {})).resolves.toBe('3');
  });

  it.each(['1.0', '1e3', 'null', 'true', '"quoted"', '[1]', ''])(
    'is taken as it stands when it looks like JSON: %p',
    async (pattern) => {
      const { client } = await service();
      await expect(client.call(pattern, {})).resolves.toBe(pattern);
    },
  );

  it('leads calls to the message handler and events to the event handler of the same pattern', async () => {
    const { client, module } = await service();
    client.emit('both', 1);
    await expect(client.call('both', 2)).resolves.toBe('message');
    expect(module.get(PatternController).events).toEqual([1]);
  });

  it('may be a boolean, as on the other transports', async () => {
    const { client } = await service();
    await expect(client.call(true, {})).resolves.toBe('true');
    await expect(client.call(false, {})).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
  });

  it('of an event handler answers no calls', async () => {
    const { client, module } = await service();
    await expect(client.call('only-event', 1)).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
    expect(module.get(PatternController).events).toEqual([]);
  });

  it('that nobody has, or that is no pattern at all, gets an answer as well', async () => {
    const { client } = await service();
    let deep: Record<string, unknown> = {};
    for (let depth = 0; depth < 30; depth += 1) deep = { deep };
    for (const pattern of ['plain ', 'toString', '__proto__', '{', '{"a":', deep, [], [1], {}, 0, 1.5]) {
      await expect(client.call(pattern, {})).rejects.toBe(
        'There is no matching message handler defined in the remote service.',
      );
    }
  });
});
