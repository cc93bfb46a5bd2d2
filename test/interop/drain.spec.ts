/** A node that leaves finishes what is open, and its callers move on without a failed call. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { until } from './interop.js';
import { MeshClientProxy, MeshContext, MeshModule, MeshServer } from '../../lib/index.js';

@Controller()
class WorkController {
  @MessagePattern('work')
  async work(ms: number) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return 'done';
  }
  @MessagePattern('call-me-back')
  callMeBack(@Payload() data: string, @Ctx() ctx: MeshContext) {
    return ctx.client.call(data, 20).catch((error: Error) => {
      throw new RpcException(error.message);
    });
  }
}

describe('a rolling restart', () => {
  const apps = new Set<INestMicroservice>();
  afterEach(async () => {
    for (const app of apps) await app.close();
    apps.clear();
  });

  async function start(service: string, registry: string): Promise<INestMicroservice> {
    const module = await Test.createTestingModule({
      imports: [MeshModule.forRoot({ service, registry, heartbeatIntervalMs: 200, ttlMs: 2_000 })],
      controllers: [WorkController],
    }).compile();
    const app = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
    await app.listen();
    apps.add(app);
    return app;
  }

  it('of three nodes under load fails no call', async () => {
    const registry = `memory:${randomUUID()}`;
    let nodes = await Promise.all([0, 1, 2].map(() => start('work', registry)));
    const gateway = await start('gateway', registry);
    const client = gateway.get(MeshClientProxy).to('work');
    const failures: unknown[] = [];
    let answered = 0;
    const stop = new AbortController();
    const moreAnswers = (): Promise<void> => {
      const wanted = answered + 50;
      return until(() => Promise.resolve(answered >= wanted || failures.length > 0));
    };
    const load = Promise.all(
      Array.from({ length: 16 }, async () => {
        while (!stop.signal.aborted) {
          try {
            await client.call('work', Math.floor(Math.random() * 10));
            answered += 1;
          } catch (error) {
            failures.push(error);
          }
        }
      }),
    );
    for (let round = 0; round < 3; round += 1) {
      const fresh: INestMicroservice[] = [];
      for (const node of nodes) {
        await moreAnswers();
        fresh.push(await start('work', registry));
        await node.close();
        apps.delete(node);
      }
      nodes = fresh;
    }
    stop.abort();
    await load;
    expect(failures.slice(0, 3)).toEqual([]);
    expect(answered).toBeGreaterThan(9 * 50);
  });

  it('of nodes that call each other both ways over shared channels fails no call', async () => {
    const registry = `memory:${randomUUID()}`;
    const left = await start('left', registry);
    let right = await start('right', registry);
    const failures: unknown[] = [];
    const stop = new AbortController();
    let answered = 0;
    const run = (app: INestMicroservice, to: string, pattern: string, data: unknown): Promise<unknown> =>
      Promise.all(
        Array.from({ length: 4 }, async () => {
          const client = app.get(MeshClientProxy).to(to);
          while (!stop.signal.aborted) {
            await client.call(pattern, data).then(
              () => (answered += 1),
              (error: unknown) => failures.push(error),
            );
          }
        }),
      );
    const load = Promise.all([run(left, 'right', 'work', 5), run(left, 'right', 'call-me-back', 'work')]);
    for (let round = 0; round < 5; round += 1) {
      const wanted = answered + 50;
      await until(() => Promise.resolve(answered >= wanted || failures.length > 0));
      const fresh = await start('right', registry);
      const client = right.get(MeshClientProxy).to('left');
      await client.call('work', 1);
      await right.close();
      apps.delete(right);
      right = fresh;
    }
    stop.abort();
    await load;
    expect(failures.slice(0, 3)).toEqual([]);
  });
});
