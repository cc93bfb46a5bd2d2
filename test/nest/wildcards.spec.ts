/** Wildcards in event patterns: every handler whose pattern matches runs, once, and knows which event it was. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Inject, Injectable, Scope } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { MeshContext, MeshError } from '../../lib/index.js';
import { until, useBench } from './nest-fixture.js';

let seen: string[] = [];

@Controller()
class OrdersController {
  @EventPattern<unknown>('orders.created')
  exact(_data: unknown): void {
    seen.push('exact');
  }
  @EventPattern<unknown>('orders.*')
  one(@Payload() _data: unknown, @Ctx() ctx: MeshContext): void {
    seen.push(`one ${ctx.getPattern()}`);
  }
  @EventPattern<unknown>('orders.>')
  rest(@Payload() data: unknown, @Ctx() ctx: MeshContext): void {
    seen.push(`rest ${ctx.getPattern()} ${JSON.stringify(data)}`);
  }
  @EventPattern<unknown>('*.*.shipped')
  middle(): void {
    seen.push('middle');
  }
  @MessagePattern('bills.pay')
  pay(): string {
    seen.push('pay');
    return 'paid';
  }
  @MessagePattern('calls.*')
  literal(): string {
    return 'literal';
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class AuditController {
  @EventPattern<unknown>('**')
  all(@Payload() _data: unknown, @Ctx() ctx: MeshContext): void {
    seen.push(`audit ${ctx.getPattern()}`);
  }
}

@Controller()
class OverlapController {
  @EventPattern<unknown>(['jobs.done', 'jobs.*', 'jobs.>', '>'])
  overlap(@Payload() _data: unknown, @Ctx() ctx: MeshContext): void {
    seen.push(`overlap ${ctx.getPattern()}`);
  }
  @EventPattern<unknown>('jobs.*')
  first(): void {
    seen.push('first');
  }
  @EventPattern<unknown>('jobs.*')
  second(): void {
    seen.push('second');
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class FailingController {
  @EventPattern<unknown>('orders.created')
  failing(): void {
    throw new Error('the exact handler fails');
  }
  @EventPattern<unknown>('orders.*')
  beside(): void {
    seen.push('beside');
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Controller()
class ObjectController {
  @EventPattern<unknown>({ cmd: 'a.*.c' })
  object(): void {
    seen.push('object');
  }
  @EventPattern<unknown>('*')
  star(@Payload() _data: unknown, @Ctx() ctx: MeshContext): void {
    seen.push(`star ${ctx.getPattern()}`);
  }
  @MessagePattern('fence')
  fence(): void {}
}

@Injectable({ scope: Scope.REQUEST })
class RequestTag {
  constructor(@Inject(REQUEST) readonly request: unknown) {}
}
const tags: RequestTag[] = [];

@Controller()
class ScopedController {
  constructor(@Inject(RequestTag) private readonly tag: RequestTag) {}
  @EventPattern<unknown>('scoped.exact')
  exact(): void {
    tags.push(this.tag);
  }
  @EventPattern<unknown>('scoped.*')
  wild(): void {
    tags.push(this.tag);
  }
}

@Controller()
class MisplacedController {
  @EventPattern<unknown>(['orders.>.done', '**.end'])
  misplaced(): void {}
}

describe('an event pattern with wildcards', () => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
    tags.length = 0;
  });

  /** What ran for one event, in the order of the alphabet. */
  const ranFor = async (controllers: (new () => unknown)[], event: unknown, data: unknown = 1) => {
    const { client } = await bench.start({ controllers });
    client.emit(event, data);
    // Calls and events of one channel keep their order, and these handlers are done at once.
    await client.call('fence', {});
    return seen.sort();
  };

  it('runs every handler that matches beside the one with the very pattern, with the pattern of the event', async () => {
    await expect(ranFor([OrdersController], 'orders.created')).resolves.toEqual([
      'exact',
      'one orders.created',
      'rest orders.created 1',
    ]);
  });

  it('takes `*` for one token and `>` for one or more', async () => {
    await expect(ranFor([OrdersController], 'orders.item.shipped', { id: 7 })).resolves.toEqual([
      'middle',
      'rest orders.item.shipped {"id":7}',
    ]);
  });

  it('takes `**` for every event, also of an object pattern', async () => {
    await expect(ranFor([OrdersController, AuditController], { cmd: 'a.b' })).resolves.toEqual([
      'audit {"cmd":"a.b"}',
    ]);
  });

  it('that does not match leaves the event to nobody, which is logged', async () => {
    const { client, logs } = await bench.start({ controllers: [OrdersController] });
    client.emit('orders', 1);
    await until(() => logs.find('error', 'no matching event handler', 'orders').length === 1, 'it is logged');
    expect(seen).toEqual([]);
  });

  it('runs a method once however many of its patterns match, and every method of one pattern', async () => {
    await expect(ranFor([OverlapController], 'jobs.done')).resolves.toEqual([
      'first',
      'overlap jobs.done',
      'second',
    ]);
    seen = [];
    await expect(ranFor([OverlapController], 'jobs.failed')).resolves.toEqual([
      'first',
      'overlap jobs.failed',
      'second',
    ]);
  });

  it('does not take an event from the message handler that has its pattern', async () => {
    await expect(ranFor([OrdersController, AuditController], 'bills.pay')).resolves.toEqual([
      'audit bills.pay',
      'pay',
    ]);
  });

  it('runs whatever another handler of the event does', async () => {
    await expect(ranFor([FailingController], 'orders.created')).resolves.toEqual(['beside']);
  });

  it('is no wildcard inside an object, where the event is one token', async () => {
    await expect(ranFor([ObjectController], { cmd: 'a.b.c' })).resolves.toEqual(['star {"cmd":"a.b.c"}']);
    seen = [];
    await expect(ranFor([ObjectController], { cmd: 'a.*.c' })).resolves.toEqual([
      'object',
      'star {"cmd":"a.*.c"}',
    ]);
  });

  it('answers no calls, and message patterns stay literal', async () => {
    const { client } = await bench.start({ controllers: [OrdersController] });
    await expect(client.call('calls.*', {})).resolves.toBe('literal');
    for (const pattern of ['calls.any', 'orders.created']) {
      await expect(client.call(pattern, {})).rejects.toBe(
        'There is no matching message handler defined in the remote service.',
      );
    }
  });

  it('gives request-scoped handlers that match one event one shared context', async () => {
    const { client } = await bench.start({ controllers: [ScopedController], providers: [RequestTag] });
    client.emit('scoped.exact', 1);
    await until(() => tags.length === 2, 'both have run');
    expect(tags[0]).toBe(tags[1]);
  });

  it('is refused at start when something follows the wildcard for the rest', async () => {
    const error: unknown = await bench
      .start({ controllers: [MisplacedController] })
      .catch((reason: unknown) => reason);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((error as MeshError).message).toContain(
      'the event pattern "orders.>.done" can match nothing: ">" stands for the rest',
    );
    expect((error as MeshError).message).toContain('"**.end"');
  });
});
