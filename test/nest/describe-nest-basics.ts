/** What must hold whatever the registry is and however the wire is secured: the same guarantees over each of them. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { from, interval, tap, type Observable } from 'rxjs';
import { take } from 'rxjs/operators';
import {
  ChannelPattern,
  MeshChannel,
  MeshContext,
  MeshModule,
  MeshNode,
  MeshClientProxy,
  MeshServer,
  type MeshOptions,
} from '../../lib/index.js';
import { until, useBench, valuesOf } from './nest-fixture.js';

/** The options under test, and what to do once they are no longer needed. */
export interface Ground {
  readonly options: Omit<MeshOptions, 'service' | 'registry'> & { readonly registry: string };
  dispose(): Promise<void> | void;
}

const seen: unknown[] = [];

@Controller()
class BasicController {
  @MessagePattern({ cmd: 'sum' })
  async sum(@Payload() data: number[]): Promise<number> {
    return data.reduce((a, b) => a + b, 0);
  }
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('stream')
  stream(data: number[]): Observable<number> {
    return from(data);
  }
  @MessagePattern('generator')
  async *generator(data: number[]): AsyncIterable<number> {
    yield* data;
  }
  @MessagePattern('fail')
  fail(): never {
    throw new RpcException({ code: 418 });
  }
  @MessagePattern('endless')
  endless(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Observable<number> {
    ctx.signal.addEventListener('abort', () => seen.push('aborted'));
    return interval(1).pipe(tap({ unsubscribe: () => seen.push('unsubscribed') }));
  }
  @EventPattern('note')
  note(data: unknown): void {
    seen.push(data);
  }
  @MessagePattern('ask-back')
  askBack(@Payload() data: unknown, @Ctx() ctx: MeshContext): Promise<unknown> {
    return ctx.client.call('echo', data);
  }
  @ChannelPattern('echo')
  async channel(channel: MeshChannel): Promise<void> {
    for await (const value of channel) await channel.send({ echo: value });
  }
}

/** Runs the basics over one ground, which is made once. */
export function describeNestBasics(name: string, prepare: () => Promise<Ground> | Ground): void {
  describe(`the mesh over ${name}`, () => {
    const bench = useBench();
    let ground: Ground;
    beforeAll(async () => {
      ground = await prepare();
    });
    afterAll(() => ground.dispose());

    const start = async (service: string) => {
      const module = await bench.compile({
        imports: [MeshModule.forRoot({ ...ground.options, service })],
        controllers: [BasicController],
      });
      const app = bench.keep(module.createNestApplication());
      app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
      await app.init();
      await app.startAllMicroservices();
      return app;
    };
    const pair = async () => {
      const service = await start('service');
      const caller = await start('caller');
      return { service, caller, client: caller.get(MeshClientProxy).to('service') };
    };

    it('answers calls with values, streams and errors', async () => {
      const { client } = await pair();
      await expect(client.call({ cmd: 'sum' }, [1, 2, 3, 4, 5])).resolves.toBe(15);
      await expect(valuesOf(client.send('stream', [1, 2, 3]))).resolves.toEqual([1, 2, 3]);
      await expect(valuesOf(client.send('generator', [1, 2, 3]))).resolves.toEqual([1, 2, 3]);
      await expect(client.call('fail', {})).rejects.toEqual({ code: 418 });
      await expect(client.call('nobody', {})).rejects.toBe(
        'There is no matching message handler defined in the remote service.',
      );
    });

    it('gives each of many calls its own answer', async () => {
      const { client } = await pair();
      const numbers = Array.from({ length: 300 }, (_, at) => at);
      await expect(Promise.all(numbers.map((n) => client.call('echo', n)))).resolves.toEqual(numbers);
    });

    it('carries a message of 4 MB in both directions', async () => {
      const { client } = await pair();
      const large = 'ü€'.repeat(800_000);
      expect((await client.call('echo', large)) === large).toBe(true);
    });

    it('carries events, cancels, reverse calls and raw channels', async () => {
      const { client } = await pair();
      seen.length = 0;
      client.emit('note', { n: 1 });
      await until(() => seen.length === 1, 'the event comes');
      expect(seen).toEqual([{ n: 1 }]);
      await valuesOf(client.send('endless', {}).pipe(take(2)));
      await until(() => seen.includes('aborted') && seen.includes('unsubscribed'), 'the cancel comes');
      await expect(client.call('ask-back', 'back')).resolves.toBe('back');
      const channel = await client.channel('echo');
      await channel.send(1);
      channel.end();
      const got: unknown[] = [];
      for await (const value of channel) got.push(value);
      expect(got).toEqual([{ echo: 1 }]);
    });

    it('lets both sides call each other at the same time', async () => {
      const { service, client } = await pair();
      const back = service.get(MeshClientProxy).to('caller');
      const numbers = Array.from({ length: 50 }, (_, at) => at);
      const [there, here] = await Promise.all([
        Promise.all(numbers.map((n) => client.call('echo', n))),
        Promise.all(numbers.map((n) => back.call('echo', -n))),
      ]);
      expect(there).toEqual(numbers);
      expect(here.map((n) => Math.abs(Number(n)))).toEqual(numbers);
    });

    it('notices a node that joins and one that leaves', async () => {
      const { service, caller, client } = await pair();
      const second = await start('service');
      const node = caller.get(MeshNode);
      const known = async (): Promise<string[]> =>
        (await node.discover('service')).map(({ id }) => id).sort();
      const ids = [service.get(MeshNode).id, second.get(MeshNode).id];
      while ((await known()).length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
      await expect(known()).resolves.toEqual(ids.sort());
      await service.close();
      while ((await known()).length > 1) await new Promise((resolve) => setTimeout(resolve, 10));
      await expect(known()).resolves.toEqual([second.get(MeshNode).id]);
      await expect(client.call('echo', 'still')).resolves.toBe('still');
    });
  });
}
