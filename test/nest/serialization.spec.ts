/** Serializers and deserializers of Nest on both sides: what they see, their order, and what becomes of what they throw. */
import { describe, expect, it } from '@jest/globals';
import { Controller, type ModuleMetadata } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { from, of, throwError, concat, type Observable } from 'rxjs';
import {
  getMeshClientToken,
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshModule,
  MeshRecordBuilder,
  MeshServer,
} from '../../lib/index.js';
import { until, useBench, valuesOf, type Bench } from './nest-fixture.js';

type Packet = Record<string, unknown>;

const events: unknown[] = [];

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(@Payload() data: unknown, @Ctx() ctx: MeshContext): unknown {
    return { data, metadata: ctx.getMetadata() ?? null };
  }
  @MessagePattern('stream')
  stream(count: number): Observable<number> {
    return from(Array.from({ length: count }, (_, at) => at));
  }
  @MessagePattern('generator')
  async *generator(count: number): AsyncIterable<number> {
    for (let at = 0; at < count; at += 1) yield at;
  }
  @MessagePattern('sum')
  async sum(numbers: AsyncIterable<number>): Promise<number> {
    let sum = 0;
    for await (const number of numbers) sum += number;
    return sum;
  }
  @MessagePattern('fail')
  fail(): Observable<unknown> {
    return concat(
      of(1),
      throwError(() => new RpcException({ code: 'X' })),
    );
  }
  @MessagePattern('secret')
  secret(): never {
    throw new Error('secret');
  }
  @EventPattern('note')
  note(data: unknown): void {
    events.push(data);
  }
}

/** Wraps data and answers; the slower the earlier it is asked, so that only waiting keeps the order. */
class Wrapping {
  readonly seen: Packet[] = [];
  constructor(
    private readonly isAsync: boolean,
    private readonly word: 'w' | 'x' = 'w',
  ) {}

  serialize(packet: Packet): unknown {
    this.seen.push(packet);
    const made = { ...packet };
    for (const key of ['data', 'response', 'err'])
      if (packet[key] !== undefined) made[key] = { [this.word]: packet[key] };
    return this.later(made);
  }

  deserialize(packet: Packet): unknown {
    this.seen.push(packet);
    const made = { ...packet };
    for (const key of ['data', 'response', 'err'])
      if (packet[key] !== undefined) made[key] = (packet[key] as Packet)[this.word];
    return this.later(made);
  }

  private later(value: unknown): unknown {
    if (!this.isAsync) return value;
    const delayMs = Math.max(0, 5 - this.seen.length);
    return new Promise((resolve) => setTimeout(resolve, delayMs, value));
  }
}

async function start(bench: Bench, server: object, client: object) {
  const started = await bench.start({ controllers: [EchoController] }, { options: server });
  const { registry } = started;
  return { ...started, client: bench.client({ registry, to: 'service', ...client }), plain: started.client };
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: unknown) => error,
  );
}

describe.each([
  ['at once', false],
  ['as Promises', true],
])('serializers and deserializers that give %s', (_how, isAsync) => {
  const bench = useBench();
  const pair = () => {
    const wrap = () => new Wrapping(isAsync);
    const server = { serializer: wrap(), deserializer: wrap() };
    const client = { serializer: wrap(), deserializer: wrap() };
    return { server, client, started: start(bench, server, client) };
  };

  it('see and change every packet of a call, as on the other transports', async () => {
    const { server, client, started } = pair();
    const { client: proxy } = await started;
    await expect(proxy.call('echo', { a: 1 })).resolves.toEqual({ data: { a: 1 }, metadata: null });
    const { id } = client.serializer.seen[0] ?? {};
    expect(id).toEqual(expect.any(String));
    expect(client.serializer.seen).toEqual([{ id, pattern: 'echo', data: { a: 1 } }]);
    expect(server.deserializer.seen).toMatchObject([{ pattern: 'echo', data: { w: { a: 1 } } }]);
    const answer = { data: { a: 1 }, metadata: null };
    expect(server.serializer.seen).toMatchObject([{ response: answer, isDisposed: true }]);
    // The id that the serializer saw, as on TCP.
    expect(client.deserializer.seen).toEqual([{ id, response: { w: answer }, isDisposed: true }]);
  });

  it('keep the order of a stream of answers, and its end', async () => {
    const { client } = await pair().started;
    const numbers = Array.from({ length: 20 }, (_, at) => at);
    await expect(valuesOf(client.send('stream', 20))).resolves.toEqual(numbers);
    await expect(valuesOf(client.send('generator', 20))).resolves.toEqual(numbers);
    const got: unknown[] = [];
    for await (const value of client.stream('generator', 20)) got.push(value);
    expect(got).toEqual(numbers);
  });

  it('take the values of a stream of input one by one', async () => {
    const { client } = await pair().started;
    await expect(client.call('sum', from([1, 2, 3, 4]))).resolves.toBe(10);
  });

  it('take errors too, behind the values before them', async () => {
    const { client } = await pair().started;
    const got: unknown[] = [];
    const error = await rejection(
      new Promise((resolve, reject) => {
        client
          .send('fail', 1)
          .subscribe({ next: (value) => got.push(value), error: reject, complete: () => resolve(0) });
      }),
    );
    expect(got).toEqual([1]);
    expect(error).toEqual({ code: 'X' });
  });

  it('keep the errorId with what is masked', async () => {
    const { client } = await pair().started;
    const error = await rejection(client.call('secret', 1));
    expect(error).toEqual({ status: 'error', message: 'Internal server error' });
    expect((error as { errorId?: unknown }).errorId).toEqual(expect.any(String));
  });

  it('take events and the data of records, whose other options hold', async () => {
    const { server, client, started } = pair();
    const { client: proxy } = await started;
    events.length = 0;
    proxy.emit('note', 'hello');
    await until(() => events.length === 1, 'the event comes');
    expect(events).toEqual(['hello']);
    expect(client.serializer.seen).toEqual([{ pattern: 'note', data: 'hello' }]);
    expect(Object.hasOwn(server.deserializer.seen[0] ?? {}, 'id')).toBe(false);
    const record = new MeshRecordBuilder('data').setMetadata({ tenant: 'a' }).build();
    await expect(proxy.call('echo', record)).resolves.toEqual({ data: 'data', metadata: { tenant: 'a' } });
  });

  it('tell the caller of a handler that is not there, and of the transport itself', async () => {
    const { client } = await pair().started;
    await expect(client.call('nobody', 1)).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
    const error = await rejection(client.to('no-such-service').with({ timeoutMs: 50 }).call('echo', 1));
    expect(MeshError.is(error)).toBe(true);
  });
});

describe('a serializer', () => {
  const bench = useBench();

  it('may give metadata and another pattern', async () => {
    const serializer = {
      serialize: (packet: Packet) => ({ ...packet, pattern: 'echo', metadata: { by: 'it' } }),
    };
    const { client } = await start(bench, {}, { serializer });
    await expect(client.call('something else', 1)).resolves.toEqual({ data: 1, metadata: { by: 'it' } });
  });

  it('may give what is no packet: it travels whole, and the deserializer finds it', async () => {
    const seal = { serialize: (packet: Packet) => JSON.stringify(packet) };
    const open = (word: string) => ({
      deserialize: (packet: Packet) => JSON.parse(String(packet[word])) as unknown,
    });
    const server = { serializer: seal, deserializer: open('data') };
    const client = { serializer: seal, deserializer: open('response') };
    const { client: proxy } = await start(bench, server, client);
    await expect(proxy.call('echo', 1)).resolves.toEqual({ data: 1, metadata: null });
    await expect(valuesOf(proxy.send('stream', 3))).resolves.toEqual([0, 1, 2]);
  });

  it('is told which of what it gives cannot travel', async () => {
    const serializer = { serialize: (packet: Packet) => ({ ...packet, signature: 'abc' }) };
    const { client } = await start(bench, {}, { serializer });
    const error = await rejection(client.call('echo', 1));
    expect((error as Error).message).toContain('"signature": only pattern, data and metadata of it travel');
  });

  it('of another client changes nothing for this one', async () => {
    const { client, plain } = await start(bench, {}, { serializer: new Wrapping(false) });
    await expect(client.call('echo', 1)).resolves.toMatchObject({ data: { w: 1 } });
    await expect(plain.call('echo', 1)).resolves.toMatchObject({ data: 1 });
  });

  it('holds for the clients that are derived from its client', async () => {
    const { client } = await start(bench, {}, { serializer: new Wrapping(false) });
    await expect(client.to('service').with({ timeoutMs: 1_000 }).call('echo', 1)).resolves.toMatchObject({
      data: { w: 1 },
    });
  });

  it('that is none is refused by name', () => {
    const options = { service: 'service', registry: 'memory:x', serializer: {}, deserializer: 1 };
    expect(() => new MeshServer(options as never)).toThrow(
      /serializer must have[\s\S]*deserializer must have/,
    );
    expect(() => bench.client({ registry: 'memory:x', serializer: {} as never })).toThrow(
      /serializer must have/,
    );
  });
});

describe('what a serializer or a deserializer throws', () => {
  const bench = useBench();
  const boom = (): never => {
    throw new TypeError('boom');
  };
  const late = async (): Promise<never> => boom();
  const passing = { serialize: (value: unknown) => value, deserialize: (value: unknown) => value };

  it.each([
    ['at once', boom],
    ['later', late],
  ])('at the caller is the error of that one call: %s', async (_how, fail) => {
    let broken = true;
    const serializer = { serialize: (packet: Packet) => (broken ? fail() : packet) };
    const first = await start(bench, {}, { serializer });
    await expect(first.client.call('echo', 1)).rejects.toThrow('boom');
    broken = false;
    await expect(first.client.call('echo', 1)).resolves.toMatchObject({ data: 1 });
    const deserializer = { deserialize: () => fail() };
    const second = await start(bench, {}, { deserializer });
    await expect(second.client.call('echo', 1)).rejects.toThrow('boom');
    await expect(second.client.call('stream', 1_000)).rejects.toThrow('boom');
    const read = async (): Promise<void> => {
      for await (const _ of second.client.stream('generator', 1_000));
    };
    await expect(read()).rejects.toThrow('boom');
  });

  it.each([
    ['at once', boom],
    ['later', late],
  ])('at the service is a MeshError for that one caller, and in the log: %s', async (_how, fail) => {
    let isBroken = (packet: Packet): boolean => packet['data'] === 'bad';
    const server = {
      deserializer: { deserialize: (packet: Packet) => (isBroken(packet) ? fail() : packet) },
      serializer: { serialize: (packet: Packet) => (packet['response'] === 3 ? fail() : packet) },
    };
    const { client, logs } = await start(bench, server, { serializer: passing, deserializer: passing });
    const unread = (await rejection(client.call('echo', 'bad'))) as MeshError;
    expect(unread).toMatchObject({
      code: 'INVALID_ARGUMENT',
      delivery: 'refused',
      rawMessage: `the deserializer of service 'service' could not read the request`,
    });
    expect(logs.find('error', `errorId ${String(unread.details?.['errorId'])}`, 'boom')).toHaveLength(1);
    isBroken = () => false;
    for (const pattern of ['stream', 'generator']) {
      const got: unknown[] = [];
      const unwritten = (await rejection(
        new Promise((resolve, reject) => {
          client
            .send(pattern, 10_000)
            .subscribe({ next: (value) => got.push(value), error: reject, complete: () => resolve(0) });
        }),
      )) as MeshError;
      expect(got).toEqual([0, 1, 2]);
      expect(unwritten).toMatchObject({
        code: 'INTERNAL',
        rawMessage: `the serializer of service 'service' could not write the answer`,
      });
      expect(logs.find('error', `errorId ${String(unwritten.details?.['errorId'])}`, 'boom')).toHaveLength(1);
    }
    await expect(client.call('echo', 'good')).resolves.toMatchObject({ data: 'good' });
  });

  it('over an event is logged', async () => {
    const { client, logs } = await start(bench, { deserializer: { deserialize: late } }, {});
    client.emit('note', 1);
    await until(() => logs.find('error', 'could not read the event', 'boom').length === 1, 'it is logged');
  });
});

describe('MeshModule', () => {
  const bench = useBench();

  it('gives its own to the server by forRoot, and to a client by forFeature', async () => {
    const registry = `memory:${randomUUID()}`;
    const wrap = (): Wrapping => new Wrapping(false);
    const launch = async (metadata: ModuleMetadata) => {
      const app = bench.keep((await bench.compile(metadata)).createNestApplication());
      app.connectMicroservice({ strategy: app.get(MeshServer) });
      await app.startAllMicroservices();
      return app.init();
    };
    const codecs = { serializer: wrap() as never, deserializer: wrap() as never };
    await launch({
      imports: [MeshModule.forRoot({ service: 'service', registry, ...codecs })],
      controllers: [EchoController],
    });
    const caller = await launch({
      imports: [
        MeshModule.forRoot({ service: 'caller', registry }),
        MeshModule.forFeature([{ service: 'service', ...codecs }]),
      ],
    });
    const client = caller.get<MeshClientProxy>(getMeshClientToken('service'));
    await expect(client.call('echo', 1)).resolves.toEqual({ data: 1, metadata: null });
    const plain = caller.get(MeshClientProxy).to('service');
    await expect(plain.call('echo', { w: 1 })).resolves.toEqual({ w: { data: 1, metadata: null } });
  });
});
