/** What a handler can ask of its call, and what a record sets for one: `MeshContext` and `MeshRecordBuilder`. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, MessagePattern, Payload, type BaseRpcContext } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { firstValueFrom, from, type Observable } from 'rxjs';
import {
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshNode,
  MeshRecordBuilder,
  MeshServer,
} from '../../lib/index.js';
import { useBench, valuesOf } from './nest-fixture.js';

let seen: { context: MeshContext; at: number }[] = [];

@Controller()
class ContextController {
  @MessagePattern('context')
  context(@Payload() data: unknown, @Ctx() context: MeshContext): unknown {
    seen.push({ context, at: Date.now() });
    return { data, metadata: context.getMetadata() ?? null };
  }
  @MessagePattern('slow')
  async slow(@Payload() ms: number, @Ctx() context: MeshContext): Promise<string> {
    await delay(ms, undefined, { signal: context.signal }).catch(() => undefined);
    return 'slow';
  }
  @MessagePattern('ask-back')
  askBack(@Payload() data: unknown, @Ctx() { client }: MeshContext): Observable<unknown> {
    return client.send('numbers', data);
  }
  @MessagePattern('ask-back-twice')
  async askBackTwice(@Payload() data: unknown, @Ctx() { client }: MeshContext): Promise<unknown> {
    return { service: 'service', said: await client.call('ask-again', data) };
  }
  @MessagePattern('last')
  last(data: unknown): unknown {
    return { last: data };
  }
  @MessagePattern('ask-back-in-vain')
  async inVain(@Payload() _data: unknown, @Ctx() { client }: MeshContext): Promise<unknown> {
    return client.call('no such pattern', {}).catch((error: unknown) => ({ error }));
  }
}

@Controller()
class PeerController {
  @MessagePattern('numbers')
  numbers(data: number[]): Observable<number> {
    return from(data);
  }
  @MessagePattern('ask-again')
  async askAgain(@Payload() data: unknown, @Ctx() { client }: MeshContext): Promise<unknown> {
    return { service: 'peer', said: await client.call('last', data) };
  }
}

describe('the context of a call', () => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
  });
  const service = () => bench.start({ controllers: [ContextController] });

  it('says by which pattern it came, who called, and when the caller gives up', async () => {
    const { client } = await service();
    await client.with({ timeoutMs: 5_000 }).call('context', 1);
    const [{ context, at } = { context: undefined, at: 0 }] = seen;
    expect(context).toBeInstanceOf(MeshContext);
    expect(context?.getPattern()).toBe('context');
    expect(context?.peer).toMatchObject({ service: 'caller', nodeId: client.unwrap().id, plain: false });
    expect(context?.peer.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(context?.sessionId).toMatch(/^[0-9a-f-]{36}$/);
    expect(context?.deadline).toBeGreaterThan(at + 3_000);
    expect(context?.deadline).toBeLessThanOrEqual(at + 5_001);
    expect(context?.signal.aborted).toBe(false);
  });

  it('has no deadline when the caller waits for ever', async () => {
    const { client } = await service();
    await client.with({ timeoutMs: 0 }).call('context', 1);
    expect(seen[0]?.context.deadline).toBeUndefined();
  });

  it('is the same session for all calls of a client, and another one for another client', async () => {
    const { client, registry } = await service();
    await client.call('context', 1);
    await client.to('service').call('context', 1);
    await bench.client({ registry, to: 'service' }).call('context', 1);
    const [first, second, third] = seen.map(({ context }) => context.sessionId);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  it('is a BaseRpcContext with the methods of other transports', async () => {
    const { client } = await service();
    await client.call('context', 1);
    const context: BaseRpcContext | undefined = seen[0]?.context;
    expect(context?.getArgByIndex(1)).toBe('context');
    expect(context?.getArgs()).toHaveLength(2);
  });

  it('has a client that calls the caller back over the same channel, streams included', async () => {
    const { registry } = await service();
    // It has handlers but does not listen, and is announced nowhere.
    const caller = new MeshNode({ service: 'peer', registry });
    const peerModule = await bench.compile({ controllers: [PeerController] });
    const peer = bench.keep(peerModule.createNestMicroservice({ strategy: new MeshServer(caller) }));
    bench.keep({ close: () => caller.close() });
    await peer.init();
    const client = MeshClientProxy.over(caller, { service: 'service' });
    await expect(valuesOf(client.send('ask-back', [1, 2, 3]))).resolves.toEqual([1, 2, 3]);
    await expect(client.call('ask-back-twice', 'x')).resolves.toEqual({
      service: 'service',
      said: { service: 'peer', said: { last: 'x' } },
    });
    expect(caller.status).toMatchObject({ listening: false, announced: false });
  });

  it('has a client whose calls are answered also by a caller without handlers', async () => {
    const { client } = await service();
    const answer = await client.call<{ error: unknown }>('ask-back-in-vain', {});
    expect(answer.error).toMatchObject({ code: 'UNIMPLEMENTED' });
  });
});

describe('a record', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [ContextController] });

  it('carries data and metadata', async () => {
    const { client } = await service();
    const record = new MeshRecordBuilder({ a: 1 }).setMetadata({ tenant: 't', 'Any Name': 'ünï' }).build();
    await expect(firstValueFrom(client.send('context', record))).resolves.toEqual({
      data: { a: 1 },
      metadata: { tenant: 't', 'Any Name': 'ünï' },
    });
    const later = new MeshRecordBuilder().setData('set later').build();
    await expect(client.call('context', later)).resolves.toEqual({ data: 'set later', metadata: null });
  });

  it('sets the time limit of one call', async () => {
    const { client } = await service();
    const record = new MeshRecordBuilder(5_000).setTimeout(60).build();
    await expect(client.call('slow', record)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('within 60 ms'),
    });
    await expect(client.call('slow', 1)).resolves.toBe('slow');
  });

  it('chooses the node, and by a key always the same one', async () => {
    const registry = `memory:${randomUUID()}`;
    const ids: string[] = [];
    for (let at = 0; at < 3; at += 1) {
      const id = randomUUID();
      ids.push(id);
      @Controller()
      class Who {
        @MessagePattern('who')
        who(): string {
          return id;
        }
      }
      await bench.start({ controllers: [Who] }, { options: { registry, nodeId: id } });
    }
    const client = bench.client({ registry, to: 'service' });
    const who = (build: (builder: MeshRecordBuilder<object>) => MeshRecordBuilder<object>): Promise<string> =>
      client.call('who', build(new MeshRecordBuilder({})).build());
    for (const id of ids) await expect(who((builder) => builder.setNode(id))).resolves.toBe(id);
    const byKey = new Map<string, Set<string>>();
    for (const key of Array.from({ length: 30 }, (_, at) => `key ${at}`)) {
      const chosen = new Set<string>();
      for (let at = 0; at < 4; at += 1) chosen.add(await who((builder) => builder.setKey(key)));
      byKey.set(key, chosen);
    }
    expect([...byKey.values()].every((chosen) => chosen.size === 1)).toBe(true);
    expect(new Set([...byKey.values()].flatMap((chosen) => [...chosen])).size).toBe(3);
  });

  it('refuses what cannot be set, naming it', () => {
    const builder = new MeshRecordBuilder(1);
    expect(() => builder.setMetadata({ n: 1 } as never)).toThrow('metadata.n must be a string');
    expect(() => builder.setTimeout(-5)).toThrow(MeshError);
    expect(() => builder.setTimeout(Number.POSITIVE_INFINITY)).toThrow('timeoutMs');
  });
});
