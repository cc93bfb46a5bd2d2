/** Redis going away costs callers nothing; a peer that dies ends its calls at once. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { Redis } from 'ioredis';
import { MeshClientProxy, MeshError, MeshServer, roundRobin, type MeshOptions } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(data: unknown) {
    return data;
  }
}

const FAST = { heartbeatIntervalMs: 200, ttlMs: 1_000, registryTimeoutMs: 1_000 };

describe('an outage', () => {
  let redis: RedisServer;
  const open: { close(): Promise<unknown> }[] = [];

  beforeEach(async () => {
    redis = await RedisServer.start();
  });

  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
    await redis.stop();
  });

  async function nestService(service: string): Promise<INestMicroservice> {
    const module = await Test.createTestingModule({ controllers: [EchoController] }).compile();
    const app = module.createNestMicroservice({
      strategy: new MeshServer({ service, registry: redis.url, ...FAST }),
      logger: false,
    });
    open.push(app);
    await app.listen();
    return app;
  }

  function clientOf(to: string, options: Partial<MeshOptions> = {}): MeshClientProxy {
    const given = { service: 'caller', registry: redis.url, to, ...FAST };
    const client = new MeshClientProxy({ ...given, ...options });
    open.push(client);
    return client;
  }

  it('of Redis before the start makes listen() fail with the address and what to do', async () => {
    await redis.stop();
    const module = await Test.createTestingModule({ controllers: [EchoController] }).compile();
    const app = module.createNestMicroservice({
      strategy: new MeshServer({ service: 'echo', registry: redis.url, ...FAST }),
      logger: false,
    });
    const error = await app.listen().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`127.0.0.1:${redis.port}`),
    });
    await app.close();
  });

  it('of Redis with a wrong password is told apart from one that is away', async () => {
    await redis.stop();
    redis = await RedisServer.start({ password: 'right' });
    const client = new MeshClientProxy({
      service: 'caller',
      registry: `redis://:wrong@127.0.0.1:${redis.port}`,
      to: 'echo',
    });
    open.push(client);
    const error = await client.connect().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect((error as Error).message).not.toContain('wrong@');
  });

  it('of Redis while running fails no call between known peers, and new peers appear when it is back', async () => {
    await nestService('echo');
    const client = clientOf('echo');
    await expect(client.call('echo', 'before')).resolves.toBe('before');
    await redis.kill();
    // Longer than the lease: the record would have run out.
    const end = Date.now() + 2 * FAST.ttlMs;
    for (let n = 0; Date.now() < end; n += 1) await expect(client.call('echo', n)).resolves.toBe(n);
    await redis.run();
    await nestService('late');
    await expect(clientOf('late').call('echo', 'late')).resolves.toBe('late');
    await expect(client.to('late').call('echo', 'known too')).resolves.toBe('known too');
    const admin = new Redis(redis.url);
    await until(async () => (await admin.keys('mesh:service:echo:*')).length === 1);
    admin.disconnect();
  });

  it('of the content of Redis (FLUSHALL) heals within a heartbeat and fails no call', async () => {
    await nestService('echo');
    const client = clientOf('echo');
    await client.call('echo', 0);
    const admin = new Redis(redis.url);
    await admin.flushall();
    await until(async () => {
      await expect(client.call('echo', 1)).resolves.toBe(1);
      return (await admin.keys('mesh:service:echo:*')).length === 1;
    });
    await expect(clientOf('echo').call('echo', 2)).resolves.toBe(2);
    admin.disconnect();
  });

  it('of a peer (SIGKILL) ends its open calls at once, says that they may have run, and the next call goes elsewhere', async () => {
    const [first, second] = await Promise.all(
      [0, 1].map(() => PythonPeer.start('interop_peer.py', { registry: redis.url, service: 'python-peer' })),
    );
    open.push({ close: () => first!.stop() }, { close: () => second!.stop() });
    const client = clientOf('python-peer', { picker: roundRobin });
    await until(async () => {
      const nodes = await client.unwrap().discover('python-peer');
      return nodes.length === 2;
    });
    // While one of the two is still being dialled the other takes its turns.
    for (let n = 0; n < 100; n += 1) await client.call('echo', n);
    const calls = Array.from({ length: 20 }, () =>
      client.call('slow', { ms: 3_000 }).catch((error: unknown) => error),
    );
    // The calls must have reached the peers before one of them dies.
    await Promise.all([client.call('echo', 3), client.call('echo', 4)]);
    const killed = performance.now();
    first!.kill('SIGKILL');
    const outcomes = await Promise.all(
      calls.map(async (call) => ({ outcome: await call, afterMs: performance.now() - killed })),
    );
    const failed = outcomes.filter(({ outcome }) => MeshError.is(outcome));
    expect(failed).toHaveLength(10);
    for (const { outcome, afterMs } of failed) {
      expect(outcome).toMatchObject({
        code: 'UNAVAILABLE',
        delivery: 'unknown',
        service: 'python-peer',
        pattern: 'slow',
      });
      expect(afterMs).toBeLessThan(2_000);
    }
    for (let n = 0; n < 50; n += 1) await expect(client.call('echo', n)).resolves.toBe(n);
  });
});
