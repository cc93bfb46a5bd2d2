/** A peer that knows only the fixed part of the protocol works with a Nest service, and never notices the rest. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { ChannelPattern, MeshChannel, MeshClientProxy, MeshContext, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

@Controller()
class NodeController {
  readonly received: unknown[] = [];
  peer: unknown;

  @ChannelPattern()
  async chat(channel: MeshChannel<{ text: string }>, @Ctx() ctx: MeshContext) {
    this.peer = { ...ctx.peer, address: undefined };
    await channel.send({ text: 'Node speaks first' });
    for await (const message of channel) {
      this.received.push(message);
      await channel.send({ text: `got: ${message.text}` });
    }
  }

  @MessagePattern('echo')
  echo(data: unknown) {
    return data;
  }
}

describe('a peer that knows only part 1 of the protocol', () => {
  let redis: RedisServer;
  let app: INestMicroservice;
  let controller: NodeController;
  const clients: MeshClientProxy[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    const module = await Test.createTestingModule({ controllers: [NodeController] }).compile();
    app = module.createNestMicroservice({
      strategy: new MeshServer({ service: 'node-peer', registry: redis.url }),
      logger: false,
    });
    await app.listen();
    controller = app.get(NodeController);
  });

  afterAll(async () => {
    for (const client of clients) await client.close();
    await app?.close();
    await redis?.stop();
  });

  function clientOf(service: string): MeshClientProxy {
    const client = new MeshClientProxy({ service: 'caller', registry: redis.url, to: service });
    clients.push(client);
    return client;
  }

  it('is found by SCAN, answers calls, and is sent nothing of part 2', async () => {
    const python = await PythonPeer.start('part1_peer.py', { registry: redis.url, service: 'old-peer' });
    const client = clientOf('old-peer');
    await expect(client.call('echo', { text: 'hi' })).resolves.toEqual({ text: 'hi' });
    // A call that is never answered, given up by its caller: no cancel may follow it.
    const error = await client
      .with({ timeoutMs: 300 })
      .call({ cmd: 'silent' }, 1)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'unknown' });
    await expect(client.call('echo', 2)).resolves.toBe(2);
    await client.close();
    await until(() => Promise.resolve(python.printed.includes('\nend')));
    await python.stop();
    const frames = [...python.printed.matchAll(/^frame (.*)$/gm)].map(
      ([, json]) => JSON.parse(json ?? '') as unknown,
    );
    expect(frames).toEqual([
      { id: 1, pattern: 'echo', data: { text: 'hi' } },
      { id: 2, pattern: { cmd: 'silent' }, data: 1 },
      { id: 3, pattern: 'echo', data: 2 },
    ]);
  });

  it('talks on a raw channel that Nest opens', async () => {
    const python = await PythonPeer.start('part1_peer.py', { registry: redis.url, service: 'old-chat' });
    const channel = await clientOf('old-chat').channel();
    const sent = Array.from({ length: 300 }, (_, n) => ({
      text: `Message from Node #${n}`,
      filler: 'x'.repeat(1_000),
    }));
    for (const message of sent) await channel.send(message);
    channel.end();
    const received: unknown[] = [];
    for await (const message of channel) received.push(message);
    expect(received).toEqual(sent);
    await python.stop();
    expect([...python.printed.matchAll(/^headers /gm)]).toHaveLength(1);
  });

  it('dials Nest, hears the default raw handler speak first, and gets its answers', async () => {
    const python = await PythonPeer.start('part1_peer.py', {
      registry: redis.url,
      service: 'old-dialler',
      args: ['--dial', 'node-peer', '--messages', '3'],
      ready: /^end$/m,
    });
    await python.stop();
    const frames = [...python.printed.matchAll(/^frame (.*)$/gm)].map(
      ([, json]) => JSON.parse(json ?? '') as unknown,
    );
    expect(frames).toEqual([
      { text: 'Node speaks first' },
      ...[0, 1, 2].map((n) => ({ text: `got: Message from Part1 #${n}` })),
    ]);
    expect(controller.received).toEqual([0, 1, 2].map((n) => ({ text: `Message from Part1 #${n}` })));
    expect(controller.peer).toEqual({
      service: 'old-dialler',
      nodeId: undefined,
      plain: true,
      takesLoad: false,
      listens: true,
    });
  });
});
