/** `@ChannelPattern`: raw channels as controller methods. */
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  BadRequestException,
  Controller,
  Injectable,
  NotFoundException,
  UseFilters,
  UseGuards,
  UseInterceptors,
  Catch,
  type ArgumentMetadata,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type NestInterceptor,
  type PipeTransform,
} from '@nestjs/common';
import { Ctx, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { EMPTY, from, interval, map, of, take, throwError, type Observable } from 'rxjs';
import {
  ChannelPattern,
  MeshChannel,
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshExceptionFilter,
  MeshNode,
  MeshServer,
} from '../../lib/index.js';
import { until, useBench } from './nest-fixture.js';

let seen: unknown[] = [];

/** Like ValidationPipe: leaves custom parameters alone, and would break an instance of a class it does not know. */
class StrictPipe implements PipeTransform {
  transform(value: unknown, { type, metatype }: ArgumentMetadata): unknown {
    if (type === 'custom') return value;
    if (metatype === MeshChannel) throw new BadRequestException('a channel is no DTO');
    return JSON.parse(JSON.stringify(value)) as unknown;
  }
}

class NobodyPasses implements CanActivate {
  canActivate(): boolean {
    return false;
  }
}

@Injectable()
class WatchingInterceptor implements NestInterceptor {
  intercept(_context: unknown, next: CallHandler): Observable<unknown> {
    seen.push('intercepted');
    return next.handle();
  }
}

@Catch()
class OwnFilter implements ExceptionFilter {
  catch(): Observable<never> {
    return throwError(() => new RpcException('from the filter').getError());
  }
}

async function echo(channel: MeshChannel): Promise<void> {
  for await (const value of channel) await channel.send({ echo: value });
}

@Controller()
class ChannelController {
  @ChannelPattern()
  defaultChannel(channel: MeshChannel): Promise<void> {
    return echo(channel);
  }
  @ChannelPattern('named')
  async named(channel: MeshChannel, @Ctx() ctx: MeshContext): Promise<void> {
    await channel.send({
      name: channel.name,
      pattern: ctx.getPattern(),
      sessionId: [channel.sessionId, ctx.sessionId],
      metadata: [channel.metadata, ctx.getMetadata()],
      peer: [channel.peer.service, ctx.peer.service],
    });
    await echo(channel);
  }
  @ChannelPattern('payload')
  payload(@Payload() channel: MeshChannel): Promise<void> {
    return echo(channel);
  }
  @ChannelPattern('odd/näme *')
  odd(channel: MeshChannel): Promise<void> {
    return echo(channel);
  }
  @UseGuards(NobodyPasses)
  @ChannelPattern('guarded')
  guarded(channel: MeshChannel): Promise<void> {
    seen.push('never');
    return echo(channel);
  }
  @UseInterceptors(WatchingInterceptor)
  @ChannelPattern('intercepted')
  intercepted(channel: MeshChannel): Promise<void> {
    return echo(channel);
  }
  @UseInterceptors(WatchingInterceptor)
  @ChannelPattern('intercepted-subscription')
  interceptedSubscription(channel: MeshChannel<number, number>): void {
    this.subscription(channel);
  }
  @UseInterceptors(WatchingInterceptor)
  @ChannelPattern('intercepted-iterable')
  interceptedIterable(channel: MeshChannel<number>): AsyncIterable<number> {
    return this.iterable(channel);
  }
  @ChannelPattern('observable')
  observable(): Observable<number> {
    return from([1, 2, 3]);
  }
  @ChannelPattern('promise-of-observable')
  async promiseOfObservable(): Promise<Observable<number>> {
    return of(1);
  }
  @ChannelPattern('empty')
  empty(): Observable<never> {
    return EMPTY;
  }
  @ChannelPattern('transform')
  transform(channel: MeshChannel<number>): Observable<number> {
    return channel.values$.pipe(map((value) => value * 10));
  }
  @ChannelPattern('iterable')
  async *iterable(channel: MeshChannel<number>): AsyncIterable<number> {
    for await (const value of channel) yield value + 1;
  }
  @ChannelPattern('subscription')
  subscription(channel: MeshChannel<number, number>): void {
    channel.values$.subscribe({
      next: (value) => void channel.send(-value),
      complete: () => channel.end(),
    });
  }
  @ChannelPattern('throw')
  throw(): unknown {
    throw new Error('secret');
  }
  @ChannelPattern('throw-late')
  async throwLate(channel: MeshChannel): Promise<void> {
    await channel.send('first');
    for await (const _ of channel) throw new RpcException('said to the log');
  }
  @ChannelPattern('throw-after-clean-up')
  async throwAfterCleanUp(channel: MeshChannel): Promise<void> {
    try {
      await this.throwLate(channel);
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 50)); // A clean-up that takes its time.
    }
  }
  @UseFilters(MeshExceptionFilter)
  @ChannelPattern('throw-filtered')
  async throwFiltered(channel: MeshChannel): Promise<void> {
    await channel.send('first');
    for await (const _ of channel) throw new NotFoundException('no such thing');
  }
  @ChannelPattern('throw-secret')
  async throwSecret(channel: MeshChannel): Promise<void> {
    await channel.send('first');
    for await (const _ of channel) throw new Error('secret');
  }
  @ChannelPattern('throw-secret-iterable')
  async *throwSecretIterable(channel: MeshChannel): AsyncIterable<string> {
    yield 'first';
    for await (const _ of channel) throw new Error('secret');
  }
  @ChannelPattern('throw-nested-iterable')
  async *throwNestedIterable(channel: MeshChannel): AsyncIterable<string> {
    yield 'first';
    for await (const _ of channel) throw new MeshError('NOT_FOUND', 'secret');
  }
  @ChannelPattern('leaves')
  async leaves(channel: MeshChannel): Promise<void> {
    await channel.send('first');
    for await (const _ of channel) break;
    await channel.whenClosed;
    seen.push('closed here');
  }
  @ChannelPattern('observable-error')
  observableError(): Observable<never> {
    return throwError(() => new Error('secret'));
  }
  @UseFilters(OwnFilter)
  @ChannelPattern('filtered')
  filtered(): unknown {
    throw new Error('secret');
  }
  @ChannelPattern('unserializable')
  unserializable(): Observable<unknown> {
    return of(1n);
  }
  @ChannelPattern('endless')
  endless(_channel: MeshChannel, @Ctx() ctx: MeshContext): Observable<number> {
    ctx.signal.addEventListener('abort', () => seen.push('aborted'));
    return interval(1);
  }
  @ChannelPattern('careless')
  async careless(channel: MeshChannel): Promise<void> {
    const timer = setInterval(() => void channel.send('x'.repeat(1_000)), 1);
    await channel.whenClosed;
    for (let at = 0; at < 10; at += 1) void channel.send('too late');
    clearInterval(timer);
    seen.push('gone');
  }
  @ChannelPattern('first-half')
  async firstHalf(channel: MeshChannel<number, string>): Promise<void> {
    await channel.send('nothing more from here');
    channel.end();
    for await (const value of channel) seen.push(value);
  }
  @ChannelPattern('calls-back')
  async callsBack(channel: MeshChannel, @Ctx() ctx: MeshContext): Promise<void> {
    await channel.send(await ctx.client.call('hello', 'from the channel'));
    channel.end();
  }
  @MessagePattern('hello')
  hello(data: unknown): unknown {
    return { hello: data };
  }
}

async function readAll(channel: AsyncIterable<unknown>): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of channel) values.push(value);
  return values;
}

describe('a method with @ChannelPattern', () => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
  });
  const service = (pipes: PipeTransform[] = []) =>
    bench.start({ controllers: [ChannelController] }, { configure: (app) => app.useGlobalPipes(...pipes) });

  it.each([undefined, 'payload', 'odd/näme *', 'intercepted'])(
    'takes the channels of its name: %p',
    async (name) => {
      const { client } = await service();
      const channel = await client.channel(name);
      expect(channel.name).toBe(name);
      await channel.send(1);
      await channel.send({ two: ['ü', null] });
      channel.end();
      await expect(readAll(channel)).resolves.toEqual([{ echo: 1 }, { echo: { two: ['ü', null] } }]);
      await expect(channel.whenClosed).resolves.toBeUndefined();
    },
  );

  it('has the channel and its context, with metadata and session id', async () => {
    const { client } = await service();
    const channel = await client
      .with({ metadata: { tenant: 'a', 'x-trace': '1' } })
      .channel('named', { metadata: { tenant: 'b' }, sessionId: 'session-7' });
    channel.end();
    expect(channel.sessionId).toBe('session-7');
    expect(channel.peer.service).toBe('service');
    const metadata = { tenant: 'b', 'x-trace': '1' };
    await expect(readAll(channel)).resolves.toEqual([
      {
        name: 'named',
        pattern: 'named',
        sessionId: ['session-7', 'session-7'],
        metadata: [metadata, metadata],
        peer: ['caller', 'caller'],
      },
    ]);
  });

  it('is left alone by global pipes that validate payloads', async () => {
    const { client } = await service([new StrictPipe()]);
    for (const name of [undefined, 'named', 'iterable']) {
      const channel = await client.channel(name);
      await channel.send(1);
      channel.end();
      expect((await readAll(channel)).length).toBeGreaterThan(0);
    }
  });

  it.each([
    ['observable', [1, 2, 3]],
    ['promise-of-observable', [1]],
    ['empty', []],
  ])('sends the values of an Observable and ends its half: %s', async (name, values) => {
    const { client } = await service();
    const channel = await client.channel(name);
    await expect(readAll(channel)).resolves.toEqual(values);
    channel.end();
    await expect(channel.whenClosed).resolves.toBeUndefined();
  });

  it.each([
    ['transform', [10, 20, 30]],
    ['iterable', [2, 3, 4]],
    ['intercepted-iterable', [2, 3, 4]],
    ['subscription', [-1, -2, -3]],
    ['intercepted-subscription', [-1, -2, -3]],
  ])('may turn what arrives into what it sends: %s', async (name, answers) => {
    const { client } = await service();
    const channel = await client.channel(name);
    for (const value of [1, 2, 3]) await channel.send(value);
    channel.end();
    await expect(readAll(channel)).resolves.toEqual(answers);
    await expect(channel.whenClosed).resolves.toBeUndefined();
  });

  it('goes on reading after it has ended its half, and the peer goes on sending', async () => {
    const { client } = await service();
    const channel = await client.channel('first-half');
    await expect(readAll(channel)).resolves.toEqual(['nothing more from here']);
    await channel.send(1);
    await channel.send(2);
    channel.end();
    await expect(channel.whenClosed).resolves.toBeUndefined();
    await until(() => seen.length === 2, 'both values are read');
    expect(seen).toEqual([1, 2]);
  });

  it.each(['guarded', 'throw', 'observable-error', 'filtered', 'unserializable'])(
    'that fails closes the channel with an error for the peer, and tells no secrets: %s',
    async (name) => {
      const { client } = await service();
      const channel = await client.channel(name);
      const error: unknown = await readAll(channel).catch((reason: unknown) => reason);
      expect(MeshError.is(error)).toBe(true);
      expect((error as MeshError).message).not.toContain('secret');
      await expect(channel.whenClosed).resolves.toBe(error);
      await expect(channel.send(1)).rejects.toBeInstanceOf(MeshError);
      expect(seen).toEqual([]);
      await expect(client.call('hello', 1)).resolves.toEqual({ hello: 1 });
    },
  );

  it.each([
    ['throw-late', { code: 'UNKNOWN', rawMessage: 'said to the log' }],
    ['throw-after-clean-up', { code: 'UNKNOWN', rawMessage: 'said to the log' }],
    ['throw-filtered', { code: 'NOT_FOUND', rawMessage: 'no such thing' }],
    ['throw-secret', { code: 'UNKNOWN', rawMessage: 'Internal server error' }],
    ['throw-secret-iterable', { code: 'UNKNOWN', rawMessage: 'Internal server error' }],
    ['throw-nested-iterable', { code: 'UNKNOWN', rawMessage: 'Internal server error' }],
  ])(
    'that fails in its loop over the channel tells the peer, after what it sent, and the log: %s',
    async (name, told) => {
      const { client, logs } = await service();
      const channel = await client.channel(name);
      const values = channel[Symbol.asyncIterator]();
      await channel.send(1);
      await expect(values.next()).resolves.toEqual({ done: false, value: 'first' });
      const error: unknown = await values.next().catch((reason: unknown) => reason);
      expect(error).toMatchObject(told);
      expect(MeshError.is(error)).toBe(true);
      await expect(channel.whenClosed).resolves.toBe(error);
      await until(() => logs.find('error', `the channel "${name}" of caller`).length === 1, 'it is logged');
      if (told.rawMessage !== 'Internal server error') return;
      const { errorId, details } = error as { errorId?: string; details?: { errorId?: string } };
      expect(errorId).toMatch(/^[0-9a-f-]{36}$/);
      expect(details?.errorId).toBe(errorId);
      expect(logs.find('error', `errorId ${errorId}`)).toHaveLength(1);
      expect(JSON.stringify(error)).not.toContain('secret');
    },
  );

  it('that leaves its loop without an error ends the channel in order, for itself at once', async () => {
    const { client } = await service();
    const channel = await client.channel('leaves');
    await channel.send(1);
    await expect(readAll(channel)).resolves.toEqual(['first']);
    await expect(channel.whenClosed).resolves.toBeUndefined();
    expect(seen).toEqual(['closed here']);
  });

  it('is told by its signal when the peer closes the channel, and its Observable is unsubscribed', async () => {
    const { client } = await service();
    const channel = await client.channel('endless');
    const got = await new Promise((resolve) => {
      const values: unknown[] = [];
      channel.values$
        .pipe(take(3))
        .subscribe({ next: (value) => values.push(value), complete: () => resolve(values) });
    });
    expect(got).toEqual([0, 1, 2]);
    channel.close();
    await until(() => seen.includes('aborted'), 'the signal aborts');
  });

  it('may call the peer back', async () => {
    const { registry } = await service();
    const node = new MeshNode({ service: 'peer', registry });
    const module = await bench.compile({ controllers: [ChannelController] });
    const app = bench.keep(module.createNestMicroservice({ strategy: new MeshServer(node) }));
    bench.keep({ close: () => node.close() });
    await app.listen();
    const channel = await MeshClientProxy.over(node, { service: 'service' }).channel('calls-back');
    await expect(readAll(channel)).resolves.toEqual([{ hello: 'from the channel' }]);
  });

  it('may send without waiting: a peer that leaves does not crash it', async () => {
    const unhandled = jest.fn();
    process.on('unhandledRejection', unhandled);
    const { client } = await service();
    const channel = await client.channel('careless');
    await channel[Symbol.asyncIterator]().next();
    channel.close();
    await until(() => seen.includes('gone'), 'the handler sees the end');
    await expect(client.call('hello', 1)).resolves.toEqual({ hello: 1 });
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
    await expect(channel.send(1)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('that nobody has is refused by name', async () => {
    const { client } = await service();
    await expect(client.channel('no such channel')).rejects.toMatchObject({
      delivery: 'refused',
      message: expect.stringContaining('"no such channel"'),
    });
  });

  it('refuses metadata that cannot travel as headers, naming it', async () => {
    const { client } = await service();
    for (const metadata of [{ Tenant: 'a' }, { tenant: 'ü' }, { 'x-service-name': 'a' }]) {
      await expect(client.channel('named', { metadata })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(Object.keys(metadata)[0] ?? ''),
      });
    }
  });

  it('is not among the patterns that calls can reach', async () => {
    const { client } = await service();
    for (const pattern of ['named', { meshChannel: 'named' }]) {
      await expect(client.call(pattern, {})).rejects.toBe(
        'There is no matching message handler defined in the remote service.',
      );
    }
  });
});
