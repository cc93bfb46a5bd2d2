/** MessagePack between Nest and Python: bytes and large integers arrive as they are, whichever side has offered it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { from, lastValueFrom, toArray } from 'rxjs';
import { ChannelPattern, MeshChannel, MeshClientProxy, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';

@Controller()
class NestController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }

  @ChannelPattern('echo')
  async *echoes(channel: MeshChannel): AsyncGenerator {
    yield* channel;
  }
}

type CodecName = 'json' | 'msgpack';

describe.each<[nest: CodecName, python: CodecName]>([
  ['msgpack', 'json'],
  ['json', 'msgpack'],
  ['msgpack', 'msgpack'],
])('Nest offers %s, and Python %s', (nest, python) => {
  let redis: RedisServer;
  let peer: PythonPeer;
  let app: INestMicroservice;
  let client: MeshClientProxy;

  beforeAll(async () => {
    redis = await RedisServer.start();
    const registry = redis.url;
    const module = await Test.createTestingModule({ controllers: [NestController] }).compile();
    app = module.createNestMicroservice({
      strategy: new MeshServer({ service: 'node-peer', registry }),
      logger: false,
    });
    const args = ['--codec', python];
    [peer] = await Promise.all([
      PythonPeer.start('interop_peer.py', { registry, service: 'python-peer', args }),
      app.listen(),
    ]);
    client = new MeshClientProxy({ service: 'caller', registry, to: 'python-peer', codec: nest });
  });

  afterAll(async () => {
    await client?.close();
    await app?.close();
    const code = await peer?.stop();
    await redis?.stop();
    expect(code).toBe(0);
  });

  it('carries what JSON can say in both directions', async () => {
    const value = {
      text: 'ä€𝄞',
      list: [1, -1, 1.5, 2 ** 32, 2 ** 53 - 1, null, true],
      nested: { a: { b: {} } },
    };
    await expect(client.call('echo', value)).resolves.toEqual(value);
    await expect(
      client.call('call-back', { service: 'node-peer', pattern: 'echo', data: value }),
    ).resolves.toEqual(value);
    await expect(
      client.call('collect-stream', { service: 'node-peer', pattern: 'echo', data: value }),
    ).resolves.toEqual([value]);
    const back = { service: 'node-peer', name: 'echo', messages: [value, value] };
    await expect(client.call('channel-back', back)).resolves.toEqual([value, value]);
  });

  it('has the same text for an instant, and null for NaN and the infinities, from both languages', async () => {
    const arrives = { at: '2026-01-02T03:04:05.000Z', numbers: [null, null, null] };
    const sent = { at: new Date(arrives.at), numbers: [NaN, Infinity, -Infinity] };
    await expect(client.call('echo', sent)).resolves.toEqual(arrives);
    await expect(client.call('wordless', {})).resolves.toEqual(arrives);
  });

  if (nest === 'msgpack') {
    it('carries bytes and integers of 64 bits as they are', async () => {
      await expect(client.call('bytes', Buffer.from([0, 1, 255]))).resolves.toEqual({
        type: 'bytes',
        reversed: Buffer.from([255, 1, 0]),
        big: 2n ** 60n + 1n,
        keys: { 1: null },
      });
      const bytes = [Buffer.from('a'), Buffer.from('b')];
      await expect(client.call('collect', from(bytes))).resolves.toEqual(bytes);
      for await (const value of client.stream('echo', bytes[0])) expect(value).toEqual(bytes[0]);
      const channel = await client.channel<Buffer, Buffer>('echo');
      await channel.send(Buffer.from([7]));
      channel.end();
      const received = await lastValueFrom(from(channel).pipe(toArray()));
      expect(received).toEqual([Buffer.from([7])]);
    });
  }
});
