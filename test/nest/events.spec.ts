/** Events: every handler runs, nothing that goes wrong with one is lost without a word, and nothing crashes. */
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  Catch,
  Controller,
  Inject,
  Injectable,
  Scope,
  UseFilters,
  type ExceptionFilter,
} from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { EventPattern, MessagePattern, RpcException } from '@nestjs/microservices';
import {
  concat,
  delay as later,
  EMPTY,
  lastValueFrom,
  NEVER,
  of,
  tap,
  throwError,
  timer,
  type Observable,
} from 'rxjs';
import { MeshError } from '../../lib/index.js';
import { until, useBench, valuesOf } from './nest-fixture.js';

let seen: string[] = [];

/** A handler's Observable that takes its time. */
function slow(name: string): Observable<unknown> {
  return timer(20).pipe(tap(() => seen.push(name)));
}

@Catch()
class ThrowingFilter implements ExceptionFilter {
  catch(): never {
    throw new Error('the filter throws');
  }
}

@Controller()
class FirstController {
  @EventPattern<unknown>('all')
  all(): void {
    seen.push('first');
  }
  @EventPattern<unknown>('with-empty')
  empty(): Observable<never> {
    return EMPTY;
  }
  @EventPattern<unknown>('with-failure')
  failing(): unknown {
    throw new Error('the first fails');
  }
  @EventPattern<unknown>('with-generator')
  async *generator(): AsyncIterable<number> {
    yield 1;
    seen.push('generator');
  }
}

@Controller()
class SecondController {
  @EventPattern<unknown>('all')
  async all(): Promise<void> {
    seen.push('second');
  }
  @EventPattern<unknown>(['with-empty', 'with-failure', 'with-generator'])
  slow(): Observable<unknown> {
    return slow('second');
  }
  @EventPattern<unknown>('all')
  third(): Observable<unknown> {
    return slow('third');
  }
}

@Controller()
class EventController {
  @EventPattern<unknown>('note')
  note(data: unknown): void {
    seen.push(JSON.stringify(data));
  }
  @EventPattern<unknown>('observable')
  observable(): Observable<unknown> {
    return concat(of(1).pipe(later(5)), slow('observable'));
  }
  @EventPattern<unknown>('generator')
  async *generator(): AsyncIterable<number> {
    yield 1;
    yield 2;
    seen.push('generator');
  }
  @EventPattern<unknown>('throw')
  throw(): unknown {
    throw new Error('it throws');
  }
  @EventPattern<unknown>('reject')
  async reject(): Promise<void> {
    throw new Error('it rejects');
  }
  @EventPattern<unknown>('rpc')
  rpc(): unknown {
    throw new RpcException('an RpcException');
  }
  @EventPattern<unknown>('observable-error')
  observableError(): Observable<unknown> {
    return concat(
      of(1),
      throwError(() => new Error('the observable fails')),
    );
  }
  @EventPattern<unknown>('generator-error')
  async *generatorError(): AsyncIterable<number> {
    yield 1;
    throw new Error('the generator fails');
  }
  @UseFilters(ThrowingFilter)
  @EventPattern<unknown>('filter-throws')
  filterThrows(): unknown {
    throw new Error('seen by the filter');
  }
  @EventPattern<unknown>('never')
  never(): Observable<never> {
    return NEVER;
  }
  @MessagePattern('message')
  message(): string {
    seen.push('message');
    return 'answer';
  }
}

@Injectable({ scope: Scope.REQUEST })
class RequestTag {
  constructor(@Inject(REQUEST) readonly request: { getData(): unknown }) {}
}
const tags: RequestTag[] = [];

@Controller()
class ScopedController {
  constructor(private readonly tag: RequestTag) {}
  @EventPattern<unknown>('scoped')
  first(data: unknown): void {
    tags.push(this.tag);
    seen.push(`first ${JSON.stringify(data)}`);
  }
}
@Controller()
class OtherScopedController {
  constructor(private readonly tag: RequestTag) {}
  @EventPattern<unknown>('scoped')
  second(data: unknown): void {
    tags.push(this.tag);
    seen.push(`second ${JSON.stringify(data)}`);
  }
}

describe('an event', () => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
    tags.length = 0;
  });
  const service = () => bench.start({ controllers: [EventController, FirstController, SecondController] });

  it('runs every handler of its pattern', async () => {
    const { client } = await service();
    client.emit('all', {});
    await until(() => seen.length === 3, 'all three have run');
    expect(seen.sort()).toEqual(['first', 'second', 'third']);
  });

  it.each(['with-empty', 'with-failure'])(
    'runs every handler to its end whatever another one does: %s',
    async (pattern) => {
      const { client } = await service();
      client.emit(pattern, {});
      await until(() => seen.includes('second'), 'the other handler ends');
    },
  );

  it('uses up iterators of one handler beside another', async () => {
    const { client } = await service();
    client.emit('with-generator', {});
    await until(() => seen.length === 2, 'both have ended');
  });

  it.each(['observable', 'generator'])('uses up what its handler gives: %s', async (pattern) => {
    const { client } = await service();
    client.emit(pattern, {});
    await until(() => seen.includes(pattern), 'it is used up');
  });

  it.each([
    ['throw', 'it throws'],
    ['reject', 'it rejects'],
    ['rpc', 'an RpcException'],
    ['observable-error', 'the observable fails'],
    ['generator-error', 'the generator fails'],
    ['filter-throws', 'the filter throws'],
    ['with-failure', 'the first fails'],
  ])('whose handler fails is logged once, and the service goes on: %s', async (pattern, message) => {
    const unhandled = jest.fn();
    process.on('unhandledRejection', unhandled);
    const { client, logs } = await service();
    client.emit(pattern, {});
    await until(() => logs.find('error', message).length > 0, 'the failure is logged');
    await expect(client.call('message', {})).resolves.toBe('answer');
    expect(logs.find('error', message)).toHaveLength(1);
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('that nobody handles is logged with its pattern', async () => {
    const { client, logs } = await service();
    client.emit({ no: 'such event' }, {});
    await until(
      () => logs.find('error', 'no matching event handler', '{"no":"such event"}').length === 1,
      'it is logged',
    );
  });

  it('whose pattern only a message handler has runs that one', async () => {
    const { client } = await service();
    await lastValueFrom(client.emit('message', {}), { defaultValue: undefined });
    await until(() => seen.includes('message'), 'the message handler has run');
  });

  it('is sent at once and once, with and without subscribers', async () => {
    const { client } = await service();
    client.emit('note', 1);
    const emitted = client.emit('note', 2);
    await valuesOf(emitted);
    await valuesOf(emitted);
    client.emit('note', 3).subscribe();
    await client.call('message', {});
    expect(seen.filter((name) => name !== 'message')).toEqual(['1', '2', '3']);
  });

  it('tells its subscriber when it was handed over', async () => {
    const { client } = await service();
    await expect(valuesOf(client.emit('note', 1))).resolves.toHaveLength(1);
  });

  it('that could not be sent is logged, and tells the subscriber why', async () => {
    const { registry, logs } = await service();
    const client = bench.client({ registry, to: 'absent', timeoutMs: 50 });
    client.emit('note', 1);
    await until(() => logs.find('error', '"note" was lost', 'absent').length === 1, 'the loss is logged');
    const error: unknown = await valuesOf(client.emit('note', 1)).catch((reason: unknown) => reason);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent', service: 'absent' });
    expect((error as MeshError).message).toContain('no node of service');
  });

  it('keeps the order of its sender, also while the connection is still made', async () => {
    const { client } = await service();
    for (let at = 0; at < 100; at += 1) client.emit('note', at);
    await until(() => seen.length === 100, 'all have come');
    expect(seen).toEqual(Array.from({ length: 100 }, (_, at) => String(at)));
  });

  it('gives request-scoped handlers of the same event one shared context, and the data', async () => {
    const { client } = await bench.start({
      controllers: [ScopedController, OtherScopedController],
      providers: [RequestTag],
    });
    client.emit('scoped', { a: 1 });
    await until(() => tags.length === 2, 'both have run');
    expect(tags[0]).toBe(tags[1]);
    expect(tags[0]?.request.getData()).toEqual({ a: 1 });
    client.emit('scoped', { a: 2 });
    await until(() => tags.length === 4, 'both have run again');
    expect(tags[2]).not.toBe(tags[0]);
    expect(seen.slice(2).sort()).toEqual(['first {"a":2}', 'second {"a":2}']);
  });

  it('with broadcast() reaches every node of the service, and says which', async () => {
    const { client, registry, server } = await service();
    const { server: second } = await bench.start(
      { controllers: [EventController] },
      { options: { registry } },
    );
    const node = client.unwrap();
    // The second node is known once the registry has told of it.
    while ((await node.discover('service')).length < 2)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const ids = await client.broadcast('note', 'all');
    expect(ids.sort()).toEqual([server.nodeId, second.nodeId].sort());
    await until(() => seen.length === 2, 'both have it');
    expect(seen).toEqual(['"all"', '"all"']);
  });
});
