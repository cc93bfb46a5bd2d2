/** Streams of input, two-way streams, and answers that are read at the reader's pace. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { from, lastValueFrom, take, throwError, toArray } from 'rxjs';
import { MeshClientProxy, MeshContext, MeshError, MeshModule, MeshServer } from '../../lib/index.js';
import { STREAM_WINDOW_BYTES } from '../../lib/transport/http2-settings.js';
import { until } from './interop.js';

const PAD = 'x'.repeat(10_000);

@Controller()
class StreamController {
  produced = 0;
  ended = 0;
  readonly aborted: boolean[] = [];

  @MessagePattern('collect')
  async collect(rows: AsyncIterable<unknown>) {
    const all: unknown[] = [];
    for await (const row of rows) all.push(row);
    return all;
  }

  @MessagePattern('running-sum')
  async *runningSum(input: AsyncIterable<number>) {
    let sum = 0;
    for await (const number of input) yield (sum += number);
  }

  @MessagePattern('first')
  async first(rows: AsyncIterable<unknown>) {
    for await (const row of rows) return row;
    return 'none';
  }

  @MessagePattern('endless')
  async *endless(@Payload() _: unknown, @Ctx() ctx: MeshContext) {
    try {
      for (;;) {
        this.produced += 1;
        yield { n: this.produced, pad: PAD };
      }
    } finally {
      this.ended += 1;
      this.aborted.push(ctx.signal.aborted);
    }
  }

  @MessagePattern('items')
  async *items(count: number) {
    for (let n = 0; n < count; n += 1) yield { n, pad: 'y'.repeat(1_000) };
  }

  @MessagePattern('echo')
  echo(data: unknown) {
    return data;
  }

  @MessagePattern('metadata')
  metadata(@Payload() _: unknown, @Ctx() ctx: MeshContext) {
    return { metadata: ctx.getMetadata(), deadline: ctx.deadline !== undefined, peer: ctx.peer.service };
  }

  @MessagePattern('fail-midway')
  async *failMidway() {
    yield 1;
    throw new RpcException({ code: 'E_MID', text: 'ä€' });
  }
}

describe('a call stream', () => {
  let app: INestMicroservice;
  let gateway: INestMicroservice;
  let client: MeshClientProxy;
  let controller: StreamController;

  beforeAll(async () => {
    const registry = `memory:${randomUUID()}`;
    const module = await Test.createTestingModule({ controllers: [StreamController] }).compile();
    app = module.createNestMicroservice({
      strategy: new MeshServer({ service: 'streams', registry }),
      logger: false,
    });
    await app.listen();
    const other = await Test.createTestingModule({
      imports: [MeshModule.forRoot({ service: 'gateway', registry })],
    }).compile();
    gateway = other.createNestMicroservice({ strategy: other.get(MeshServer), logger: false });
    await gateway.listen();
    client = gateway.get(MeshClientProxy).to('streams');
    controller = app.get(StreamController);
  });

  afterAll(async () => {
    await gateway.close();
    await app.close();
  });

  it('carries an Observable, an AsyncIterable or a Readable to the handler', async () => {
    await expect(client.call('collect', from([1, 2, 3]))).resolves.toEqual([1, 2, 3]);
    await expect(client.call('collect', numbers(3))).resolves.toEqual([0, 1, 2]);
    await expect(client.call('collect', Readable.from(['a', { b: 1 }]))).resolves.toEqual(['a', { b: 1 }]);
    await expect(client.call('collect', from([]))).resolves.toEqual([]);
  });

  it('answers a stream with a stream, both at once', async () => {
    await expect(lastValueFrom(client.send('running-sum', from([1, 2, 3])).pipe(toArray()))).resolves.toEqual(
      [1, 3, 6],
    );
    const sums: number[] = [];
    for await (const sum of client.stream<number>('running-sum', numbers(1_000))) sums.push(sum);
    expect(sums.at(-1)).toBe(499_500);
    expect(sums).toHaveLength(1_000);
  });

  it('ends the input of a handler that has answered without reading all of it', async () => {
    let returned = false;
    async function* input() {
      try {
        for (let n = 0; ; n += 1) yield { n, pad: PAD };
      } finally {
        returned = true;
      }
    }
    await expect(client.call('first', input())).resolves.toMatchObject({ n: 0 });
    await until(() => Promise.resolve(returned));
  });

  it('lets the producer run ahead of a slow reader by a bounded number of bytes only', async () => {
    controller.produced = 0;
    const before = controller.ended;
    const iterator = client.stream<{ n: number }>('endless', {})[Symbol.asyncIterator]();
    for (let n = 1; n <= 10; n += 1) expect((await iterator.next()).value?.n).toBe(n);
    let last = -1;
    // Until it has stopped: nothing tells that, other than that it no longer grows.
    await until(async () => {
      const now = controller.produced;
      const still = now === last;
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return still;
    });
    // The window of the stream, what waits on either side of it, and the one in hand.
    const boundBytes = STREAM_WINDOW_BYTES + 4 * 1024 * 1024;
    expect(controller.produced * PAD.length).toBeLessThan(boundBytes);
    for (let n = 11; n <= 3_000; n += 1) expect((await iterator.next()).value?.n).toBe(n);
    expect(controller.produced).toBeGreaterThan(3_000);
    await iterator.return?.();
    await until(() => Promise.resolve(controller.ended === before + 1));
    expect(controller.aborted.at(-1)).toBe(true);
  });

  it('brings 100,000 items of 1 KB once each, in order, while small calls go on being answered', async () => {
    let small = 0;
    const done = new AbortController();
    const calls = (async () => {
      while (!done.signal.aborted) {
        await client.call('echo', small);
        small += 1;
      }
    })();
    let expected = 0;
    for await (const item of client.stream<{ n: number }>('items', 100_000)) {
      if (item.n !== expected) throw new Error(`item ${item.n} in the place of ${expected}`);
      expected += 1;
    }
    done.abort();
    await calls;
    expect(expected).toBe(100_000);
    expect(small).toBeGreaterThan(20);
  }, 60_000);

  it('cancels the handler when the reader leaves, and when its signal aborts', async () => {
    const before = controller.ended;
    for await (const _ of client.stream('endless', {})) break;
    await until(() => Promise.resolve(controller.ended === before + 1));
    const abort = new AbortController();
    const reading = (async () => {
      for await (const _ of client.with({ signal: abort.signal }).stream('endless', {})) abort.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });
    await until(() => Promise.resolve(controller.ended === before + 2));
    await expect(
      lastValueFrom(client.send('running-sum', endless()).pipe(take(3), toArray())),
    ).resolves.toEqual([0, 1, 3]);
  });

  it('carries metadata, the deadline and errors in its headers and trailers', async () => {
    const tagged = client.with({ metadata: { tenant: 'Zürich', trace: 'a b' } });
    for await (const seen of tagged.stream('metadata', {})) {
      expect(seen).toEqual({ metadata: { tenant: 'Zürich', trace: 'a b' }, deadline: true, peer: 'gateway' });
    }
    const got: unknown[] = [];
    const failing = (async () => {
      for await (const value of client.stream('fail-midway', {})) got.push(value);
    })();
    await expect(failing).rejects.toEqual({ code: 'E_MID', text: 'ä€' });
    expect(got).toEqual([1]);
    await expect(client.call('no-such', from([1]))).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
  });

  it('fails with the error of its input, and the handler sees a cancel', async () => {
    await expect(
      client.call(
        'collect',
        throwError(() => new Error('my input broke')),
      ),
    ).rejects.toThrow('my input broke');
    await expect(client.call('collect', from([1n]))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('ends with its time limit when nothing is answered', async () => {
    const error = await client
      .with({ timeoutMs: 150 })
      .call('collect', never())
      .catch((thrown: unknown) => thrown);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', service: 'streams', pattern: 'collect' });
  });
});

async function* numbers(count: number) {
  for (let n = 0; n < count; n += 1) yield n;
}

async function* endless() {
  for (let n = 0; ; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    yield n;
  }
}

async function* never() {
  await new Promise((resolve) => setTimeout(resolve, 400));
  yield 1;
}
