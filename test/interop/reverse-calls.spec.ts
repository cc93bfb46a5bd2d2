/** Calls back over the session that the caller has opened: from Python to Nest, and from Nest to Python. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Logger, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import {
  ChannelPattern,
  MeshChannel,
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshModule,
  MeshServer,
} from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

@Controller()
class NestController {
  readonly notes: unknown[] = [];
  cancelled = 0;

  @MessagePattern('double')
  double(n: number): number {
    return n * 2;
  }
  @MessagePattern('numbers')
  async *numbers(to: number) {
    for (let n = 1; n <= to; n += 1) yield n;
  }
  @MessagePattern('running-sum')
  async *runningSum(input: AsyncIterable<number>) {
    let sum = 0;
    for await (const n of input) yield (sum += n);
  }
  @MessagePattern('reject')
  reject() {
    throw new RpcException({ code: 'E_NEST' });
  }
  @EventPattern('note')
  note(data: unknown): void {
    this.notes.push(data);
  }
  @ChannelPattern('shout')
  async *shout(channel: MeshChannel<string>, @Ctx() context: MeshContext) {
    yield [context.sessionId, context.getMetadata()?.['x-unit'], context.peer.service];
    for await (const text of channel) yield text.toUpperCase();
  }

  @ChannelPattern('fails')
  async fails(channel: MeshChannel<string>): Promise<void> {
    for await (const text of channel) throw new RpcException(`not ${text}`);
  }
  @ChannelPattern('fails-in-secret')
  async failsInSecret(channel: MeshChannel<string>): Promise<void> {
    for await (const _ of channel) throw new Error('secret');
  }

  @MessagePattern('ask-back')
  async askBack(@Payload() data: { values: number[] }, @Ctx() { client }: MeshContext) {
    const counted: unknown[] = [];
    for await (const n of client.stream('count', { n: 1_000 })) counted.push(n);
    const sums: unknown[] = [];
    for await (const sum of client.stream('running-sum', valuesOf(data.values))) sums.push(sum);
    const channel = await client.channel('echo');
    for (const value of data.values) await channel.send(value);
    channel.end();
    const echoed: unknown[] = [];
    for await (const value of channel) echoed.push(value);
    const refused = await client.channel('nothing').catch((error: unknown) => error);
    return {
      called: await client.call('sum', { a: 1, b: 2 }),
      counted: counted.length,
      sums,
      echoed,
      refused: (refused as { code?: string }).code,
    };
  }
  @MessagePattern('leave-early')
  async leaveEarly(@Ctx() { client }: MeshContext) {
    for await (const _item of client.stream('ahead', { bytes: 1_000 })) break;
    return true;
  }
}

/** What a raw channel `fails` brings, and the error that it ends by. */
async function endOf(client: MeshClientProxy, how: unknown) {
  const channel = await client.channel('fails');
  await channel.send(how);
  const values: unknown[] = [];
  try {
    for await (const value of channel) values.push(value);
  } catch (error) {
    if (!MeshError.is(error)) throw error;
    return { values, code: error.code, message: error.rawMessage };
  }
  return { values };
}

async function* valuesOf(values: number[]) {
  yield* values;
}

describe('reverse calls between Nest and Python', () => {
  let redis: RedisServer;
  let python: PythonPeer;
  let app: INestMicroservice;
  let controller: NestController;
  let client: MeshClientProxy;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    redis = await RedisServer.start();
    const registry = redis.url;
    // The Nest application opens no port: whatever Python sends it goes over the session that Nest has opened.
    const options = { service: 'nest-worker', registry, listen: false, connectTo: ['python-peer'] };
    const module = await Test.createTestingModule({
      imports: [MeshModule.forRoot(options)],
      controllers: [NestController],
    }).compile();
    app = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
    python = await PythonPeer.start('interop_peer.py', { registry, service: 'python-peer' });
    await app.listen();
    controller = app.get(NestController);
    client = app.get(MeshClientProxy).to('python-peer');
  });

  afterAll(async () => {
    await app?.close();
    const code = await python?.stop();
    await redis?.stop();
    expect(code).toBe(0);
  });

  const reverse = (how: string, pattern: string, rest: object): Promise<unknown> =>
    client.call('reverse', { how, pattern, ...rest });

  it('lets Python call and stream from the node whose call it handles', async () => {
    await expect(reverse('call', 'double', { data: 21 })).resolves.toBe(42);
    await expect(reverse('stream', 'numbers', { data: 1_000 })).resolves.toEqual(
      Array.from({ length: 1_000 }, (_, index) => index + 1),
    );
    await expect(reverse('stream', 'running-sum', { values: [1, 2, 3] })).resolves.toEqual([1, 3, 6]);
    await expect(reverse('stream', 'reject', {})).rejects.toMatchObject({ code: 'E_NEST' });
    await reverse('emit', 'note', { data: 'hello' });
    expect(controller.notes).toEqual(['hello']);
  });

  it('lets Python open raw channels there, and says why one is refused', async () => {
    await expect(reverse('channel', 'shout', { values: ['a', 'ß'] })).resolves.toEqual([
      ['s-1', 'ms', 'python-peer'],
      'A',
      'SS',
    ]);
    await expect(reverse('channel', 'nothing', { values: [] })).resolves.toMatchObject({
      delivery: 'refused',
    });
  });

  it('tells Python by what error the handler of a raw channel has ended', async () => {
    await expect(reverse('channel', 'fails', { values: ['this'] })).resolves.toMatchObject({
      code: 'UNKNOWN',
      message: expect.stringContaining('not this'),
    });
    const masked = await reverse('channel', 'fails-in-secret', { values: ['this'] });
    expect(masked).toMatchObject({ message: expect.stringContaining('Internal server error') });
    expect(JSON.stringify(masked)).not.toContain('secret');
  });

  it('tells Nest by what error the handler of a raw channel of Python has ended', async () => {
    await expect(endOf(client, { kind: 'mesh' })).resolves.toEqual({
      values: ['before'],
      code: 'FAILED_PRECONDITION',
      message: 'a MeshError',
    });
    await expect(endOf(client, { kind: 'value' })).resolves.toEqual({
      values: ['before'],
      code: 'UNKNOWN',
      message: 'Internal server error',
    });
  });

  it('lets Python reach a Nest worker without a port by its name', async () => {
    await expect(
      client.call('call-back', { service: 'nest-worker', pattern: 'double', data: 4 }),
    ).resolves.toBe(8);
    await expect(
      client.call('collect-stream', { service: 'nest-worker', pattern: 'running-sum', values: [1, 2] }),
    ).resolves.toEqual([1, 3]);
    await expect(
      client.call('channel-back', { service: 'nest-worker', name: 'shout', messages: ['x'] }),
    ).resolves.toContain('X');
  });

  it('lets Nest call, stream and open channels over the session that Python has opened', async () => {
    const registry = redis.url;
    const module = await Test.createTestingModule({
      imports: [MeshModule.forRoot({ service: 'gateway', registry })],
      controllers: [NestController],
    }).compile();
    const gateway = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
    await gateway.listen();
    const worker = await PythonPeer.start('interop_peer.py', {
      registry,
      service: 'python-worker',
      args: ['--worker', 'gateway'],
    });
    try {
      const toWorker = gateway.get(MeshClientProxy).to('python-worker');
      const asked = await toWorker.call('call-back', {
        service: 'gateway',
        pattern: 'ask-back',
        data: { values: [1, 2, 3] },
      });
      expect(asked).toEqual({
        called: 3,
        counted: 1_000,
        sums: [1, 3, 6],
        echoed: [1, 2, 3],
        refused: 'NOT_FOUND',
      });
      await expect(endOf(toWorker, { kind: 'rpc' })).resolves.toEqual({
        values: ['before'],
        code: 'UNKNOWN',
        message: 'an RpcError',
      });
      await toWorker.call('call-back', { service: 'gateway', pattern: 'leave-early', data: {} });
      await until(async () => (await toWorker.call('cancelled', {})) === 1);
    } finally {
      expect(await worker.stop()).toBe(0);
      await gateway.close();
    }
  });
});
