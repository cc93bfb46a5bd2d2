/** Python workers that open no port, called by their name from a Nest gateway. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Logger, type INestMicroservice } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { MeshClientProxy, MeshModule, MeshServer } from '../../lib/index.js';
import { listeningPortsOf } from '../support/listening-sockets.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

@Controller()
class GatewayController {
  @MessagePattern('greet')
  greet(name: string): string {
    return `Hello, ${name}`;
  }
}

describe('Python workers that open no port', () => {
  let redis: RedisServer;
  let app: INestMicroservice;
  let client: MeshClientProxy;
  let workers: PythonPeer[] = [];

  const startGateway = async (): Promise<INestMicroservice> => {
    const module = await Test.createTestingModule({
      imports: [MeshModule.forRoot({ service: 'gateway', registry: redis.url })],
      controllers: [GatewayController],
    }).compile();
    const gateway = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
    await gateway.listen();
    return gateway;
  };
  const startWorker = async (): Promise<PythonPeer> => {
    const worker = await PythonPeer.start('interop_peer.py', {
      registry: redis.url,
      service: 'python-worker',
      args: ['--worker', 'gateway'],
    });
    workers.push(worker);
    return worker;
  };

  beforeAll(async () => {
    Logger.overrideLogger(false);
    redis = await RedisServer.start();
  });
  beforeEach(async () => {
    app = await startGateway();
    client = app.get(MeshClientProxy).to('python-worker');
  });
  afterEach(async () => {
    for (const worker of workers) await worker.stop();
    workers = [];
    await app.close();
  });
  afterAll(() => redis?.stop());

  it('are nodes like any other: calls, streams, events, broadcasts and channels reach them', async () => {
    const worker = await startWorker();
    await expect(client.call('sum', { a: 1, b: 2 })).resolves.toBe(3);
    expect(listeningPortsOf(worker.pid)).toEqual([]);
    const counted: unknown[] = [];
    for await (const n of client.stream('count', { n: 100 })) counted.push(n);
    expect(counted).toHaveLength(100);
    await expect(client.call('collect', input())).resolves.toEqual([1, 2]);
    await expect(client.with({ ack: 'handled' }).broadcast('note', 'all')).resolves.toHaveLength(1);
    await expect(client.call('events', {})).resolves.toEqual(['all']);
    const channel = await client.channel('echo');
    await channel.send('hi');
    channel.end();
    const received: unknown[] = [];
    for await (const value of channel) received.push(value);
    expect(received).toEqual(['hi']);
    await expect(
      client.call('call-back', { service: 'gateway', pattern: 'greet', data: 'worker' }),
    ).resolves.toBe('Hello, worker');
  });

  it('answer what they were given before they go, and get nothing new then', async () => {
    const [leaving] = [await startWorker(), await startWorker()];
    await until(() => Promise.resolve(client.peers.length === 2));
    const slow = [1, 2].map(() => client.call('slow', { ms: 400 }));
    const gone = leaving.stop();
    const during: Promise<unknown>[] = [];
    for (let n = 0; n < 50; n += 1) during.push(client.call('sum', { a: n, b: 0 }));
    await expect(Promise.all(slow)).resolves.toEqual(['done', 'done']);
    await expect(Promise.all(during)).resolves.toEqual(Array.from({ length: 50 }, (_, n) => n));
    expect(await gone).toBe(0);
    await expect(client.call('sum', { a: 1, b: 1 })).resolves.toBe(2);
  });

  it('connect again to a gateway that has started anew', async () => {
    await startWorker();
    await client.call('echo', 1);
    await app.close();
    app = await startGateway();
    client = app.get(MeshClientProxy).to('python-worker');
    await expect(client.call('echo', 2)).resolves.toBe(2);
  });
});

async function* input() {
  yield* [1, 2];
}
