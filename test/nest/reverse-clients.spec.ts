/** `ctx.client`: from each kind of handler, everything that a client can do reaches the caller, which opens no port. */
import { describe, expect, it } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { lastValueFrom } from 'rxjs';
import {
  ChannelPattern,
  MeshChannel,
  MeshClientProxy,
  MeshContext,
  MeshModule,
  MeshNode,
  MeshServer,
  type CodecName,
} from '../../lib/index.js';
import { useBench, type Bench } from './nest-fixture.js';

const CODECS: readonly CodecName[] = ['json', 'msgpack'];

/** Noted by the caller, in the order in which it has handled them. */
let notes: unknown[] = [];

async function* upTo(to: number): AsyncGenerator<number> {
  for (let n = 1; n <= to; n += 1) yield n;
}

async function collected<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** What the caller answers to, so that it can be called back. */
@Controller()
class CallerController {
  @MessagePattern('twice')
  twice(n: number): number {
    return 2 * n;
  }
  @MessagePattern('same')
  same(data: unknown): unknown {
    return data;
  }
  @EventPattern('note')
  async note(text: string): Promise<void> {
    // What waits only until it is received goes on before this has run.
    await new Promise((resolve) => setImmediate(resolve));
    notes.push(text);
  }
  @MessagePattern('count')
  count(to: number): AsyncIterable<number> {
    return upTo(to);
  }
  @MessagePattern('sum')
  async sum(values: AsyncIterable<number>): Promise<number> {
    return (await collected(values)).reduce((sum, value) => sum + value, 0);
  }
  @ChannelPattern('echo')
  async *echo(channel: MeshChannel<string>): AsyncIterable<string> {
    for await (const text of channel) yield `echo ${text}`;
  }
}

/** Calls the caller back in every way there is, and tells what came of it. */
async function everyWay({ client }: MeshContext, note: string): Promise<unknown> {
  const call = await client.call('twice', 21);
  await lastValueFrom(client.with({ ack: 'handled' }).emit('note', note), { defaultValue: undefined });
  const noted = notes.includes(note);
  const stream = await collected(client.stream('count', 50));
  const sum = await client.call('sum', upTo(100));
  const channel = await client.channel<string, string>('echo');
  await channel.send('a');
  await channel.send('b');
  channel.end();
  const echoed = await collected(channel);
  const bytes = (await client.call('same', Buffer.from([0, 255]))) instanceof Uint8Array;
  return { bytes, call, noted, stream: stream.length, last: stream.at(-1), sum, echoed };
}

const ALL = { call: 42, noted: true, stream: 50, last: 50, sum: 5_050, echoed: ['echo a', 'echo b'] };

@Controller()
class HubController {
  @MessagePattern('packet')
  packet(@Payload() note: string, @Ctx() context: MeshContext): Promise<unknown> {
    return everyWay(context, note);
  }
  @MessagePattern('streamed')
  async *streamed(@Payload() note: string, @Ctx() context: MeshContext): AsyncIterable<unknown> {
    yield 'first';
    yield await everyWay(context, note);
  }
  @MessagePattern('streamed-input')
  async streamedInput(
    @Payload() parts: AsyncIterable<string>,
    @Ctx() context: MeshContext,
  ): Promise<unknown> {
    return everyWay(context, (await collected(parts)).join(''));
  }
  @ChannelPattern('talk')
  async talk(channel: MeshChannel<string>, @Ctx() context: MeshContext): Promise<void> {
    for await (const note of channel) await channel.send(await everyWay(context, note));
  }
}

interface Hub {
  readonly registry: string;
  readonly codec: CodecName;
}

/** An application that opens no port and keeps a channel to the hub. */
async function portlessApplication(bench: Bench, { registry, codec }: Hub): Promise<MeshClientProxy> {
  @Module({
    imports: [
      MeshModule.forRoot({ service: 'caller', registry, codec, listen: false, connectTo: ['service'] }),
    ],
    controllers: [CallerController],
  })
  class CallerModule {}

  const module = await bench.compile({ imports: [CallerModule] });
  const app = module.createNestMicroservice({ strategy: module.get(MeshServer) });
  bench.keep(app);
  await app.listen();
  return module.get(MeshClientProxy).to('service');
}

/** A client over a node that has a server, which was never told to listen. */
async function clientOverNode(bench: Bench, { registry, codec }: Hub): Promise<MeshClientProxy> {
  const node = bench.keep(new MeshNode({ service: 'caller', registry, codec }));
  const server = new MeshServer(node);
  const controller = new CallerController();
  server.addHandler('twice', async (n: number) => controller.twice(n));
  server.addHandler('same', async (data: unknown) => controller.same(data));
  server.addHandler('note', (text: string) => controller.note(text), true);
  server.addHandler('count', async (to: number) => controller.count(to));
  server.addHandler('sum', (values: AsyncIterable<number>) => controller.sum(values));
  server.addHandler('echo', async (channel: MeshChannel<string>) => controller.echo(channel), false, {
    meshChannel: { name: 'echo' },
  });
  return MeshClientProxy.over(node).to('service');
}

const CALLERS = [
  { caller: 'an application with listen: false and connectTo', start: portlessApplication },
  { caller: 'a client over a node whose server does not listen', start: clientOverNode },
];

describe.each(CODECS)('ctx.client over %s', (codec) => {
  // Only MessagePack has bytes of its own, so that it shows which codec carried the call back.
  const everything = { ...ALL, bytes: codec === 'msgpack' };

  describe.each(CALLERS)('towards $caller', ({ start }) => {
    const bench = useBench();

    async function client(): Promise<MeshClientProxy> {
      notes = [];
      const registry = `memory:${randomUUID()}`;
      await bench.start({ controllers: [HubController] }, { options: { registry, codec } });
      return start(bench, { registry, codec });
    }

    it('does everything from a handler that was called over the packet channel', async () => {
      const hub = await client();
      expect(await hub.call('packet', 'from a call')).toEqual(everything);
      expect(notes).toEqual(['from a call']);
    });

    it('does everything from a handler in the middle of its streamed answer', async () => {
      const hub = await client();
      expect(await collected(hub.stream('streamed', 'from an answer'))).toEqual(['first', everything]);
      expect(notes).toEqual(['from an answer']);
    });

    it('does everything from a handler with streamed input', async () => {
      const hub = await client();
      async function* parts(): AsyncGenerator<string> {
        yield* ['from ', 'input'];
      }
      expect(await hub.call('streamed-input', parts())).toEqual(everything);
      expect(notes).toEqual(['from input']);
    });

    it('does everything from a channel handler, also where the channel is the very first contact', async () => {
      const hub = await client();
      const channel = await hub.channel<string>('talk');
      await channel.send('one');
      await channel.send('two');
      channel.end();
      expect(await collected(channel)).toEqual([everything, everything]);
      expect(notes).toEqual(['one', 'two']);
    });
  });
});
