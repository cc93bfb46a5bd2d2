/** A raw channel as the very first contact, from a node without a port: its handler calls back, from Nest to Python and from Python to Nest. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MeshChannel, MeshClientProxy, MeshContext, MeshNode, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';

describe('a raw channel as the first contact', () => {
  let redis: RedisServer;
  let python: PythonPeer;
  const toClose: { close(): unknown }[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    // It opens no port, and connects to the gateway only.
    python = await PythonPeer.start('interop_peer.py', {
      registry: redis.url,
      service: 'python-worker',
      args: ['--worker', 'gateway'],
    });
  });

  afterAll(async () => {
    for (const each of toClose) await each.close();
    const code = await python?.stop();
    await redis?.stop();
    expect(code).toBe(0);
  });

  async function listening(service: string): Promise<MeshServer> {
    const server = new MeshServer({ service, registry: redis.url });
    toClose.push(server);
    server.addHandler(
      'ask-back',
      async function* (channel: MeshChannel, { client }: MeshContext) {
        for await (const pair of channel) yield await client.call('sum', pair);
      } as never,
      false,
      { meshChannel: { name: 'ask-back' } },
    );
    await new Promise<void>((resolve, reject) =>
      server.listen((error) => (error === undefined ? resolve() : reject(error))),
    );
    return server;
  }

  it('of a Python worker is answered with calls by Nest', async () => {
    const gateway = await listening('gateway');
    await listening('hub');
    const worker = MeshClientProxy.over(gateway['node']).to('python-worker');
    const messages = [
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ];
    const data = { service: 'hub', name: 'ask-back', messages };
    expect(await worker.call('channel-back', data)).toEqual([3, 7]);
  });

  it('of a Nest client is answered with calls by Python', async () => {
    const service = await PythonPeer.start('interop_peer.py', {
      registry: redis.url,
      service: 'python-service',
    });
    const node = new MeshNode({ service: 'caller', registry: redis.url });
    new MeshServer(node).addHandler('sum', async ({ a, b }: { a: number; b: number }) => a + b);
    const channel = await MeshClientProxy.over(node).to('python-service').channel<number, object>('ask-back');
    await channel.send({ a: 1, b: 2 });
    await channel.send({ a: 3, b: 4 });
    channel.end();
    const answers: number[] = [];
    for await (const answer of channel) answers.push(answer);
    expect(answers).toEqual([3, 7]);
    await node.close();
    expect(await service.stop()).toBe(0);
  });
});
