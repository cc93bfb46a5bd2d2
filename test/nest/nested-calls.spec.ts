/** A call that a handler makes as part of the call it handles ends with it, and carries its metadata. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { MeshClientProxy, MeshContext, MeshModule, MeshServer } from '../../lib/index.js';
import { until } from '../interop/interop.js';

const seen: { metadata: unknown; leftMs: number | undefined; aborted: boolean }[] = [];

@Controller()
class InnerController {
  @MessagePattern('inner')
  async inner(@Payload() ms: number, @Ctx() ctx: MeshContext) {
    const record = {
      metadata: ctx.getMetadata(),
      leftMs: ctx.deadline === undefined ? undefined : ctx.deadline - Date.now(),
      aborted: false,
    };
    seen.push(record);
    ctx.signal.addEventListener('abort', () => (record.aborted = true));
    await new Promise((resolve) => setTimeout(resolve, ms));
    return 'inner';
  }
}

@Controller()
class OuterController {
  readonly errors: unknown[] = [];

  constructor(private readonly mesh: MeshClientProxy) {}

  @MessagePattern('outer')
  outer(@Payload() ms: number, @Ctx() ctx: MeshContext) {
    return this.mesh
      .to('inner')
      .with(ctx)
      .with({ metadata: { hop: '2' } })
      .call('inner', ms);
  }

  @MessagePattern('too-late')
  async tooLate(@Payload() ms: number, @Ctx() ctx: MeshContext) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.mesh
      .to('inner')
      .with(ctx)
      .call('inner', 0)
      .catch((error: unknown) => this.errors.push(error));
  }
}

describe('a nested call', () => {
  let inner: INestMicroservice;
  let outer: INestMicroservice;
  let client: MeshClientProxy;

  beforeAll(async () => {
    const registry = `memory:${randomUUID()}`;
    const start = async (service: string, controller: new (...args: never[]) => unknown) => {
      const module = await Test.createTestingModule({
        imports: [MeshModule.forRoot({ service, registry })],
        controllers: [controller],
      }).compile();
      const app = module.createNestMicroservice({ strategy: module.get(MeshServer), logger: false });
      await app.listen();
      return app;
    };
    inner = await start('inner', InnerController);
    outer = await start('outer', OuterController);
    client = new MeshClientProxy({ service: 'caller', registry, to: 'outer' });
    await client.call('outer', 0);
    seen.length = 0;
  });

  afterAll(async () => {
    await client.close();
    await outer.close();
    await inner.close();
  });

  it('has the smaller of the two limits, and the metadata of both', async () => {
    await client.with({ timeoutMs: 2_000, metadata: { tenant: 'a' } }).call('outer', 0);
    const { metadata, leftMs } = seen.pop()!;
    expect(metadata).toEqual({ tenant: 'a', hop: '2' });
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(2_000);
  });

  it('is cancelled with the call that it is part of', async () => {
    await expect(client.with({ timeoutMs: 100 }).call('outer', 1_000)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    const record = seen.pop()!;
    await until(() => Promise.resolve(record.aborted));
  });

  it('is not even sent when nothing is left of the limit', async () => {
    const { errors } = outer.get(OuterController);
    await client
      .with({ timeoutMs: 50 })
      .call('too-late', 150)
      .catch(() => undefined);
    await until(() => Promise.resolve(errors.length === 1));
    expect(errors[0]).toMatchObject({ delivery: 'not-sent' });
    expect(seen).toEqual([]);
  });
});
