/** What must work between a Nest service and a Python peer, whatever the registry and with or without TLS. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { from, lastValueFrom, take, toArray } from 'rxjs';
import {
  ChannelPattern,
  MeshChannel,
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshModule,
  MeshServer,
  type MeshOptions,
} from '../../lib/index.js';
import { STREAM_WINDOW_BYTES } from '../../lib/transport/http2-settings.js';
import { PythonPeer, type TlsFiles } from '../support/python-peer.js';

/** Where the two peers meet. */
export interface Meeting {
  readonly registry: string;
  readonly tls?: { readonly options: NonNullable<MeshOptions['tls']>; readonly files: TlsFiles };
  /** What both offer. */
  readonly codec?: 'msgpack';
  close(): Promise<void>;
}

@Controller()
class NestController {
  readonly notes: unknown[] = [];
  readonly callers: string[] = [];
  cancelled = 0;

  @MessagePattern({ cmd: 'greet' })
  greet(@Payload() data: { name: string }, @Ctx() ctx: MeshContext): string {
    this.callers.push(ctx.peer.service);
    return `Hello, ${data.name}`;
  }

  @MessagePattern('numbers')
  async *numbers(n: number) {
    for (let number = 0; number < n; number += 1) yield number;
  }

  @MessagePattern('running-sum')
  async *runningSum(input: AsyncIterable<number>) {
    let sum = 0;
    for await (const number of input) yield (sum += number);
  }

  @MessagePattern('reject')
  reject() {
    throw new RpcException({ code: 'E_NEST', detail: [1, 2] });
  }

  @MessagePattern('reverse')
  reverse(@Payload() data: number, @Ctx() ctx: MeshContext) {
    return ctx.client.call('sum', { a: data, b: 1 });
  }

  @EventPattern('note')
  note(data: unknown) {
    this.notes.push(data);
  }

  @ChannelPattern('shout')
  async *shout(channel: MeshChannel<string>, @Ctx() ctx: MeshContext) {
    yield `hello ${ctx.peer.service}`;
    for await (const text of channel) yield text.toUpperCase();
  }
}

/** Runs the suite at a meeting place of its own. */
export function describeInterop(name: string, meet: () => Promise<Meeting>): void {
  describe(`a Nest service and a Python peer over ${name}`, () => {
    let meeting: Meeting;
    let python: PythonPeer;
    let app: INestMicroservice;
    let client: MeshClientProxy;
    let controller: NestController;

    beforeAll(async () => {
      meeting = await meet();
      const { registry, tls, codec } = meeting;
      const module = await Test.createTestingModule({
        imports: [MeshModule.forRoot({ service: 'node-peer', registry, tls: tls?.options, codec })],
        controllers: [NestController],
      }).compile();
      app = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
      const [peer] = await Promise.all([
        PythonPeer.start('interop_peer.py', {
          registry,
          service: 'python-peer',
          tls: tls?.files,
          args: codec === undefined ? [] : ['--codec', codec],
        }),
        app.listen(),
      ]);
      python = peer;
      client = app.get(MeshClientProxy).to('python-peer');
      controller = app.get(NestController);
    });

    afterAll(async () => {
      await app?.close();
      const code = await python?.stop();
      await meeting?.close();
      expect(code).toBe(0);
    });

    it('answers calls from Nest to Python', async () => {
      await expect(client.call('sum', { a: 2, b: 40 })).resolves.toBe(42);
      await expect(client.call({ cmd: 'sum' }, { a: 'ä', b: '€𝄞' })).resolves.toBe('ä€𝄞');
      const value = { nested: [{ text: 'ß' }, null, true, 1.5], empty: {} };
      await expect(client.call('echo', value)).resolves.toEqual(value);
      await expect(client.with({ metadata: { tenant: 'acme' } }).call('metadata', {})).resolves.toMatchObject(
        {
          tenant: 'acme',
        },
      );
    });

    it('answers 500 calls that are in flight together, each its own', async () => {
      const sums = await Promise.all(
        Array.from({ length: 500 }, (_, a) => client.call<number>('sum', { a, b: a })),
      );
      expect(sums).toEqual(Array.from({ length: 500 }, (_, a) => 2 * a));
    });

    it('iterates a Python generator, to its end and until it has enough', async () => {
      await expect(lastValueFrom(client.send('count', { n: 1_000 }).pipe(toArray()))).resolves.toEqual(
        Array.from({ length: 1_000 }, (_, number) => number),
      );
      const before = await client.call<number>('cancelled', {});
      await expect(
        lastValueFrom(client.send('count', { n: 100_000, ms: 1 }).pipe(take(3), toArray())),
      ).resolves.toEqual([0, 1, 2]);
      await until(async () => (await client.call<number>('cancelled', {})) > before);
    });

    it('cancels the Python task of a call that is not waited for', async () => {
      const before = await client.call<number>('cancelled', {});
      const error = await client
        .with({ timeoutMs: 200 })
        .call('slow', { ms: 20_000 })
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', service: 'python-peer', pattern: 'slow' });
      await until(async () => (await client.call<number>('cancelled', {})) > before);
    });

    it('carries errors from Python', async () => {
      await expect(client.call('fail', { kind: 'rpc' })).rejects.toMatchObject({ code: 'E_TEST' });
      await expect(client.call('fail', { kind: 'value' })).rejects.toEqual({
        status: 'error',
        message: 'Internal server error',
      });
      const error = await client.call('fail', { kind: 'mesh' }).catch((thrown: unknown) => thrown);
      expect(MeshError.is(error)).toBe(true);
      expect(error).toMatchObject({ code: 'FAILED_PRECONDITION' });
      await expect(client.call('no-such-pattern', {})).rejects.toBe(
        'There is no matching message handler defined in the remote service.',
      );
    });

    it('delivers events from Nest to Python, in order', async () => {
      for (let n = 0; n < 20; n += 1)
        await lastValueFrom(client.emit('note', { n }), { defaultValue: undefined });
      await until(async () => (await client.call<unknown[]>('events', {})).length >= 20);
      await expect(client.call('events', {})).resolves.toEqual(Array.from({ length: 20 }, (_, n) => ({ n })));
    });

    it('answers calls from Python to Nest, and Python iterates a Nest stream', async () => {
      const callNest = (pattern: unknown, data: unknown): Promise<unknown> =>
        client.call('call-back', { service: 'node-peer', pattern, data });
      await expect(callNest({ cmd: 'greet' }, { name: 'Python' })).resolves.toBe('Hello, Python');
      expect(controller.callers).toContain('python-peer');
      await expect(
        client.call('collect-stream', { service: 'node-peer', pattern: 'numbers', data: 1_000 }),
      ).resolves.toEqual(Array.from({ length: 1_000 }, (_, number) => number));
      await expect(callNest('reject', {})).rejects.toMatchObject({ code: 'E_NEST', detail: [1, 2] });
      await expect(callNest('reverse', 41)).resolves.toBe(42);
      await expect(
        client.call('emit-back', { service: 'node-peer', pattern: 'note', data: 'hi' }),
      ).resolves.toBe(true);
      await until(() => Promise.resolve(controller.notes.includes('hi')));
    });

    it('streams input to Python, both ways at once, and is held back by a slow reader', async () => {
      await expect(client.call('collect', from([1, 'zwei', { three: 3 }]))).resolves.toEqual([
        1,
        'zwei',
        { three: 3 },
      ]);
      await expect(
        lastValueFrom(client.send('running-sum', from([1, 2, 3])).pipe(toArray())),
      ).resolves.toEqual([1, 3, 6]);
      const ahead = client.stream<{ n: number }>('ahead', { bytes: 10_000 })[Symbol.asyncIterator]();
      for (let n = 0; n < 10; n += 1) await ahead.next();
      let last = -1;
      await until(async () => {
        const produced = await client.call<number>('produced', {});
        const still = produced === last;
        last = produced;
        // Long enough to see that it no longer grows: nothing tells of it.
        await new Promise((resolve) => setTimeout(resolve, 200));
        return still;
      });
      expect(last * 10_000).toBeLessThan(STREAM_WINDOW_BYTES + 8 * 1024 * 1024);
      await ahead.return?.();
    });

    it('streams input from Python to Nest', async () => {
      await expect(
        client.call('collect-stream', { service: 'node-peer', pattern: 'running-sum', values: [1, 2, 3] }),
      ).resolves.toEqual([1, 3, 6]);
    });

    it('runs a raw channel that Nest opens to Python', async () => {
      for (const channelName of ['echo', undefined]) {
        const channel = await client.channel(channelName);
        const received: unknown[] = [];
        const reading = (async () => {
          for await (const value of channel) received.push(value);
        })();
        const sent = Array.from({ length: 2_000 }, (_, n) => ({ text: `Message #${n}` }));
        for (const value of sent) await channel.send(value);
        channel.end();
        await reading;
        expect(received).toEqual(sent);
        await expect(channel.whenClosed).resolves.toBeUndefined();
      }
    });

    it('runs a raw channel that Python opens to Nest', async () => {
      await expect(
        client.call('channel-back', {
          service: 'node-peer',
          name: 'shout',
          messages: ['a', 'b'],
          metadata: { k: 'v' },
        }),
      ).resolves.toEqual(['hello python-peer', 'A', 'B']);
    });

    it('carries metadata and the session id of a raw channel', async () => {
      const channel = await client.channel('metadata', {
        metadata: { tenant: 'acme' },
        sessionId: 'session-1',
      });
      const { value } = await channel[Symbol.asyncIterator]().next();
      expect(value).toMatchObject({ metadata: { tenant: 'acme' }, sessionId: 'session-1' });
      channel.close();
    });

    it('refuses a raw channel that nobody handles', async () => {
      await expect(client.channel('nothing')).rejects.toMatchObject({ delivery: 'refused' });
    });
  });
}

/** Waits for something that becomes true elsewhere, in another process; there is nothing else to wait on. */
export async function until(condition: () => Promise<boolean>, limitMs = 10_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not true within ${limitMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
