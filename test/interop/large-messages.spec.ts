/** Large messages between Nest and Python: each on a stream of its own, whoever has dialled. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Logger, type INestMicroservice } from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom, toArray } from 'rxjs';
import { MeshClientProxy, MeshModule, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

const LARGE = 'ä'.repeat(500_000);
const MIB = 1024 * 1024;
const MAX_FRAME_BYTES = 80 * MIB;

@Controller()
class NestController {
  readonly notes: unknown[] = [];

  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('mixed')
  async *mixed() {
    for (let n = 0; n < 12; n += 1) yield n % 3 === 0 ? LARGE : n;
  }
  @EventPattern('note')
  note(data: unknown): void {
    this.notes.push(data);
  }
}

const MIXED = Array.from({ length: 12 }, (_, n) => (n % 3 === 0 ? LARGE : n));

describe.each(['json', 'msgpack'] as const)('large messages between Nest and Python, as %s', (codec) => {
  let redis: RedisServer;
  let peers: PythonPeer[] = [];
  let app: INestMicroservice;
  let controller: NestController;
  let mesh: MeshClientProxy;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    redis = await RedisServer.start();
    const registry = redis.url;
    const limits = { maxFrameBytes: MAX_FRAME_BYTES };
    const module = await Test.createTestingModule({
      imports: [MeshModule.forRoot({ service: 'node-peer', registry, limits, codec })],
      controllers: [NestController],
    }).compile();
    app = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
    await app.listen();
    const args = ['--codec', codec, '--max-frame-bytes', String(MAX_FRAME_BYTES)];
    const start = (service: string, more: string[]): Promise<PythonPeer> =>
      PythonPeer.start('interop_peer.py', { registry, service, args: [...args, ...more] });
    // Nest dials the first; the second opens no port, so it has dialled Nest.
    peers = await Promise.all([start('listening', []), start('worker', ['--worker', 'node-peer'])]);
    controller = app.get(NestController);
    mesh = app.get(MeshClientProxy);
  });

  afterAll(async () => {
    await app?.close();
    const codes = await Promise.all(peers.map((peer) => peer.stop()));
    await redis?.stop();
    expect(codes).toEqual([0, 0]);
  });

  describe.each(['listening', 'worker'])('with a %s Python peer', (service) => {
    it('go to Python and back', async () => {
      const client = mesh.to(service);
      await expect(client.call('echo', LARGE)).resolves.toBe(LARGE);
      const many = Array.from({ length: 30 }, (_, n) => `${n}${LARGE}`);
      await expect(Promise.all(many.map((text) => client.call('echo', text)))).resolves.toEqual(many);
    });

    it('go to Nest and back', async () => {
      const client = mesh.to(service);
      await expect(client.call('reverse', { how: 'call', pattern: 'echo', data: LARGE })).resolves.toBe(
        LARGE,
      );
    });

    it('keep their place among the small values of an answer, both ways', async () => {
      const client = mesh.to(service);
      await expect(lastValueFrom(client.send('mixed', {}).pipe(toArray()))).resolves.toEqual(MIXED);
      await expect(client.call('by-packets', { service: 'node-peer', pattern: 'mixed' })).resolves.toEqual(
        MIXED,
      );
    });

    it('are events too, with and without an acknowledgement', async () => {
      const client = mesh.to(service);
      controller.notes.length = 0;
      await client.call('reverse', { how: 'emit', pattern: 'note', data: LARGE });
      expect(controller.notes).toEqual([LARGE]);
      await lastValueFrom(client.with({ ack: 'handled' }).emit('note', LARGE), { defaultValue: undefined });
      await lastValueFrom(client.emit('note', [LARGE]), { defaultValue: undefined });
      await until(async () => ((await client.call<unknown[]>('events', {})) ?? []).length === 2);
      await expect(client.call('events', {})).resolves.toEqual([LARGE, [LARGE]]);
    });

    it('of 64 MiB go through while small calls are answered', async () => {
      const client = mesh.to(service);
      const text = 'x'.repeat(64 * MIB - 100);
      const state = { open: true };
      const large = client.with({ timeoutMs: 60_000 }).call<string>('echo', text);
      void large.finally(() => (state.open = false)).catch(() => undefined);
      let small = 0;
      for (; state.open; small += 1)
        await expect(client.call('sum', { a: small, b: 1 })).resolves.toBe(small + 1);
      expect((await large) === text).toBe(true);
      expect(small).toBeGreaterThan(5);
    }, 90_000);

    it('that the caller gives up leave the channel as it was', async () => {
      const client = mesh.to(service);
      const calls = Array.from({ length: 10 }, () =>
        client.with({ timeoutMs: 5 }).call('echo', LARGE.repeat(8)),
      );
      await Promise.allSettled(calls);
      await expect(client.call('echo', LARGE)).resolves.toBe(LARGE);
    });
  });
});
