/** Events between Nest and Python: wildcards, acknowledgements, broadcast, publish, and what is counted. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Logger, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { MeshClientProxy, MeshContext, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

const MASKED = { status: 'error', message: 'Internal server error' };

@Controller()
class NestController {
  readonly heard: unknown[] = [];

  @EventPattern<unknown>('inter.>')
  inter(@Payload() data: unknown, @Ctx() context: MeshContext): void {
    this.heard.push([context.getPattern(), data]);
    if (data === 'text') throw new RpcException('not this one');
    if (data === 'secret') throw new Error(data);
  }

  @EventPattern('only.nest')
  only(data: unknown): void {
    this.heard.push(data);
  }
}

describe('events between Nest and Python', () => {
  let redis: RedisServer;
  let peers: PythonPeer[] = [];
  let app: INestMicroservice;
  let controller: NestController;
  let nest: MeshClientProxy;
  let python: MeshClientProxy;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    redis = await RedisServer.start();
    const registry = redis.url;
    const module = await Test.createTestingModule({ controllers: [NestController] }).compile();
    const strategy = new MeshServer({ service: 'node-peer', registry });
    app = module.createNestMicroservice({ strategy, logger: false });
    const start = (service: string): Promise<PythonPeer> =>
      PythonPeer.start('interop_peer.py', { registry, service });
    peers = await Promise.all([start('python-peer'), start('twins'), start('twins')]);
    await app.listen();
    controller = app.get(NestController);
    nest = new MeshClientProxy({ service: 'caller', registry });
    python = nest.to('python-peer');
  });

  afterAll(async () => {
    await nest?.close();
    await app?.close();
    const codes = await Promise.all(peers.map((peer) => peer.stop()));
    await redis?.stop();
    expect(codes).toEqual([0, 0, 0]);
  });

  const caught = (ack: 'received' | 'handled', pattern: string, data: unknown): Promise<unknown> =>
    lastValueFrom(python.with({ ack }).emit(pattern, data), { defaultValue: undefined }).catch(
      (error: unknown) => error,
    );

  it('waits for the handlers of Python, and catches what they throw', async () => {
    await expect(caught('handled', 'inter.one', 1)).resolves.toBeUndefined();
    await expect(python.call('events', {})).resolves.toContainEqual(['inter.one', 1]);
    await expect(caught('received', 'inter.one', 2)).resolves.toBeUndefined();
    await expect(caught('handled', 'inter.one', 'text')).resolves.toEqual({
      status: 'error',
      message: 'not this one',
    });
    const masked = await caught('handled', 'inter.one', 'secret');
    expect(masked).toEqual(MASKED);
    const line = `errorId ${(masked as { errorId?: string }).errorId}: the handler of inter.one, called by caller, failed`;
    await until(() => Promise.resolve(peers[0]?.printed.includes(line) === true));
    for (const ack of ['received', 'handled'] as const) {
      await expect(caught(ack, 'inter.one.two', 3)).resolves.toMatchObject({
        code: 'UNIMPLEMENTED',
        delivery: 'refused',
      });
    }
    await expect(python.call('event-counts', {})).resolves.toMatchObject({
      received: 6,
      unhandled: 2,
      failed: 2,
    });
  });

  it('lets Python wait for the handlers of Nest, and catch what they throw', async () => {
    const emit = (ack: string | null, pattern: string, data: unknown): Promise<unknown> =>
      python.call('send-event', { how: 'emit', service: 'node-peer', pattern, data, ack });
    await expect(emit('handled', 'inter.a.b', 1)).resolves.toBeNull();
    expect(controller.heard).toContainEqual(['inter.a.b', 1]);
    await expect(emit('received', 'inter.a', 2)).resolves.toBeNull();
    await expect(emit('handled', 'inter.a', 'text')).resolves.toEqual({
      payload: { status: 'error', message: 'not this one' },
      errorId: null,
    });
    await expect(emit('handled', 'inter.a', 'secret')).resolves.toEqual({
      payload: MASKED,
      errorId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    for (const ack of ['received', 'handled']) {
      await expect(emit(ack, 'nobody', 3)).resolves.toEqual({ code: 'UNIMPLEMENTED', delivery: 'refused' });
    }
    await expect(emit(null, 'only.nest', 'plain')).resolves.toBeNull();
    await until(() => Promise.resolve(controller.heard.includes('plain')));
    await expect(python.call('event-counts', {})).resolves.toMatchObject({
      sent: 7,
      acknowledged: 2,
      lost: 0,
      unroutable: 2,
    });
  });

  it('broadcasts to every node of the other language, and says which have it', async () => {
    const twins = nest.to('twins').with({ ack: 'handled' });
    await until(async () => (await twins.broadcast('inter.all', 1)).length === 2);
    await until(async () => {
      const how = { how: 'broadcast', service: 'twins', pattern: 'inter.all', ack: 'handled' };
      return (await python.call<string[]>('send-event', how)).length === 2;
    });
    const sent = await python.call<string[]>('send-event', {
      how: 'broadcast',
      service: 'node-peer',
      pattern: 'only.nest',
      data: 'all',
      ack: 'handled',
    });
    expect(sent).toHaveLength(1);
    expect(controller.heard).toContain('all');
  });

  it('publishes to one node of every service that announced a handler, in either language', async () => {
    const receipts = await nest.with({ ack: 'handled' }).publish('inter.news', 'n');
    expect(receipts.map(({ service }) => service).toSorted()).toEqual(['node-peer', 'python-peer', 'twins']);
    expect(controller.heard).toContainEqual(['inter.news', 'n']);
    await expect(python.call('events', {})).resolves.toContainEqual(['inter.news', 'n']);
    const publish = async (pattern: string): Promise<string[]> => {
      const how = { how: 'publish', pattern, data: 'p', ack: 'handled' };
      return (await python.call<[string, string][]>('send-event', how))
        .map(([service]) => service)
        .toSorted();
    };
    await expect(publish('inter.from.python')).resolves.toEqual(['node-peer']);
    await expect(publish('inter.python')).resolves.toEqual(['node-peer', 'twins']);
    await expect(publish('nobody')).resolves.toEqual([]);
    await expect(nest.publish('nobody', {})).resolves.toEqual([]);
  });
});
