/** The time limit of a call: for an answer that stays out, not for a stream that has begun. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { lastValueFrom, toArray } from 'rxjs';
import { MeshClientProxy, MeshContext, MeshServer } from '../../lib/index.js';

@Controller()
class SlowController {
  @MessagePattern('ticks')
  async *ticks(@Payload() data: { first: number; every: number; count: number }, @Ctx() ctx: MeshContext) {
    await pause(data.first);
    for (let n = 0; n < data.count; n += 1) {
      yield { n, deadline: ctx.deadline !== undefined };
      await pause(data.every);
    }
  }
}

describe('the time limit of a call', () => {
  let app: INestMicroservice;
  let client: MeshClientProxy;

  beforeAll(async () => {
    const registry = `memory:${randomUUID()}`;
    const module = await Test.createTestingModule({ controllers: [SlowController] }).compile();
    app = module.createNestMicroservice({
      strategy: new MeshServer({ service: 'slow', registry }),
      logger: false,
    });
    await app.listen();
    client = new MeshClientProxy({ service: 'caller', registry, to: 'slow', timeoutMs: 150 });
  });

  afterAll(async () => {
    await client.close();
    await app.close();
  });

  it('does not cut a stream that has begun, whose handler then has no deadline', async () => {
    const values = await lastValueFrom(
      client.send('ticks', { first: 0, every: 60, count: 6 }).pipe(toArray()),
    );
    expect(values).toEqual([0, 1, 2, 3, 4, 5].map((n) => ({ n, deadline: n === 0 })));
  });

  it('ends a stream that does not begin', async () => {
    await expect(client.call('ticks', { first: 1_000, every: 0, count: 1 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      delivery: 'unknown',
      message: expect.stringContaining('150 ms (timeoutMs)'),
    });
  });

  it('ends a call to a service that is not there, and says what was found', async () => {
    await expect(client.to('nobody').call('x', {})).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      service: 'nobody',
      message: expect.stringContaining("no node of service 'nobody' is listed in memory:"),
    });
  });
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
