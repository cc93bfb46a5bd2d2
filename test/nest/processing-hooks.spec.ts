/** The hooks of tracing tools: around the handling on the server, and on every packet that a client sends. */
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { setTimeout as delay } from 'node:timers/promises';
import { concat, NEVER, of, throwError, type Observable } from 'rxjs';
import { MESH_TRANSPORT, MeshContext, MeshRecordBuilder, type MeshServer } from '../../lib/index.js';
import { gate, until, useBench, valuesOf, type Gate } from './nest-fixture.js';

let started: Gate<void> = gate();
const eventMetadata: unknown[] = [];

@Controller()
class HookedController {
  @MessagePattern('value')
  value(data: unknown): unknown {
    return data;
  }
  @MessagePattern('stream')
  stream(): Observable<number> {
    return of(1, 2, 3);
  }
  @MessagePattern('generator')
  async *generator(): AsyncIterable<number> {
    yield* [1, 2];
  }
  @MessagePattern('throw')
  throw(): unknown {
    throw new RpcException('boom');
  }
  @MessagePattern('fail-midway')
  failMidway(): Observable<number> {
    return concat(
      of(1),
      throwError(() => new RpcException('boom')),
    );
  }
  @MessagePattern('bigint')
  bigint(): unknown {
    return 1n;
  }
  @MessagePattern('never')
  never(): Observable<never> {
    started.open();
    return NEVER;
  }
  @MessagePattern('endless')
  async *endless(@Payload() _data: unknown, @Ctx() ctx: MeshContext): AsyncIterable<number> {
    started.open();
    for (let at = 0; !ctx.signal.aborted; at += 1) {
      yield at;
      await delay(1);
    }
  }
  @MessagePattern('metadata')
  metadata(@Payload() data: unknown, @Ctx() ctx: MeshContext): unknown {
    return { data, metadata: ctx.getMetadata() ?? 'undefined' };
  }
  @EventPattern<unknown>('event')
  event(@Payload() _data: unknown, @Ctx() ctx: MeshContext): void {
    eventMetadata.push(ctx.getMetadata());
    started.open();
  }
  @EventPattern<unknown>('failing-event')
  failingEvent(): void {
    throw new Error('boom');
  }
  @EventPattern<unknown>('event-stream')
  eventStream(): Observable<number> {
    return of(1, 2);
  }
}

describe('the processing hooks of the server', () => {
  const bench = useBench();
  let calls: string[] = [];
  beforeEach(() => {
    started = gate();
    calls = [];
  });

  const hook = (server: MeshServer): void => {
    server.setOnProcessingStartHook((transport, context, done): unknown => {
      expect(transport).toBe(MESH_TRANSPORT);
      calls.push(`start ${(context as MeshContext).getPattern()}`);
      return done();
    });
    server.setOnProcessingEndHook((_transport, context) => {
      calls.push(`end ${(context as MeshContext).getPattern()}`);
    });
  };
  const service = () =>
    bench.start({ controllers: [HookedController] }, { configure: (_app, server) => hook(server) });

  it.each(['value', 'stream', 'generator', 'throw', 'fail-midway', 'bigint'])(
    'run exactly once around a call: %s',
    async (pattern) => {
      const { client } = await service();
      await valuesOf(client.send(pattern, {})).catch(() => undefined);
      await until(() => calls.length === 2, 'the end hook runs');
      await client.call('value', {});
      expect(calls).toEqual([`start ${pattern}`, `end ${pattern}`, 'start value', 'end value']);
    },
  );

  it.each(['never', 'endless'])('run exactly once around a call that is cancelled: %s', async (pattern) => {
    const { client } = await service();
    const subscription = client.send(pattern, {}).subscribe();
    await started.promise;
    expect(calls).toEqual([`start ${pattern}`]);
    subscription.unsubscribe();
    await until(() => calls.length === 2, 'the end hook runs');
    await client.call('value', {});
    expect(calls).toEqual([`start ${pattern}`, `end ${pattern}`, 'start value', 'end value']);
  });

  it.each(['event', 'failing-event', 'event-stream'])(
    'run exactly once around an event: %s',
    async (pattern) => {
      const { client } = await service();
      client.emit(pattern, {});
      await until(() => calls.length === 2, 'the end hook runs');
      await client.call('value', {});
      expect(calls).toEqual([`start ${pattern}`, `end ${pattern}`, 'start value', 'end value']);
    },
  );

  it('may wait before the handler runs, and may be installed after the server listens', async () => {
    const { client, server } = await bench.start({ controllers: [HookedController] });
    await expect(client.call('value', 1)).resolves.toBe(1);
    server.setOnProcessingStartHook((_transport, _context, done): unknown =>
      delay(20).then(() => (calls.push('waited'), done())),
    );
    await expect(client.call('value', 2)).resolves.toBe(2);
    expect(calls).toEqual(['waited']);
  });

  it('that drop the promise of done() cause no unhandled rejection', async () => {
    const unhandled = jest.fn();
    process.on('unhandledRejection', unhandled);
    const { client } = await bench.start(
      { controllers: [HookedController] },
      {
        configure: (_app, server) =>
          server.setOnProcessingStartHook((_transport, _context, done) => void done()),
      },
    );
    for (const pattern of ['throw', 'bigint', 'fail-midway'])
      await expect(client.call(pattern, {})).rejects.toBeDefined();
    client.emit('failing-event', {});
    await client.call('value', {});
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('that fail themselves answer the caller and are logged', async () => {
    const { client, server, logs } = await bench.start({ controllers: [HookedController] });
    const masked = { status: 'error', message: 'Internal server error' };
    server.setOnProcessingStartHook(() => {
      throw new Error('the hook throws');
    });
    await expect(client.call('value', {})).rejects.toEqual(masked);
    client.emit('event', {});
    await until(() => logs.find('error', 'the hook throws').length === 2, 'both are logged');
    server.setOnProcessingStartHook((): unknown => Promise.reject(new Error('the hook rejects')));
    await expect(client.call('value', {})).rejects.toEqual(masked);
    client.emit('event', {});
    await until(() => logs.find('error', 'the hook rejects').length === 2, 'both are logged');
  });

  it('at the end that fail are logged, and the caller has its answer', async () => {
    const { client, server, logs } = await bench.start({ controllers: [HookedController] });
    server.setOnProcessingEndHook(() => {
      throw new Error('the end hook throws');
    });
    await expect(client.call('value', 1)).resolves.toBe(1);
    await expect(valuesOf(client.send('stream', {}))).resolves.toEqual([1, 2, 3]);
    await expect(valuesOf(client.send('generator', {}))).resolves.toEqual([1, 2]);
    await expect(client.call('throw', {})).rejects.toEqual({ status: 'error', message: 'boom' });
    client.emit('event', {});
    client.emit('event-stream', {});
    await until(() => logs.find('error', 'the end hook throws').length === 6, 'every failure is logged');
    await expect(client.call('value', 2)).resolves.toBe(2);
  });
});

describe('the dispatch hook of a client', () => {
  const bench = useBench();
  beforeEach(() => {
    started = gate();
    eventMetadata.length = 0;
  });
  const service = () => bench.start({ controllers: [HookedController] });

  it('brings metadata to the context of calls and events, once for each packet, and leaves the data alone', async () => {
    const { client } = await service();
    let packets = 0;
    client.setOnDispatchHook((packet) => {
      packets += 1;
      packet.metadata = { traceparent: `trace-${packets}` };
    });
    const call = client.send('metadata', { a: 1 });
    await expect(valuesOf(call)).resolves.toEqual([{ data: { a: 1 }, metadata: { traceparent: 'trace-1' } }]);
    await expect(valuesOf(call)).resolves.toEqual([{ data: { a: 1 }, metadata: { traceparent: 'trace-2' } }]);
    client.emit('event', {});
    await started.promise;
    expect(eventMetadata).toEqual([{ traceparent: 'trace-3' }]);
    expect(packets).toBe(3);
  });

  it('leaves the metadata undefined when there is none', async () => {
    const { client } = await service();
    await expect(client.call('metadata', 1)).resolves.toEqual({ data: 1, metadata: 'undefined' });
    client.emit('event', {});
    await started.promise;
    expect(eventMetadata).toEqual([undefined]);
  });

  it('gives way to the metadata of the client, and that to the metadata of the record', async () => {
    const { client } = await service();
    client.setOnDispatchHook((packet) => {
      packet.metadata = { hook: 'hook', client: 'hook', record: 'hook' };
    });
    const derived = client.with({ metadata: { client: 'client', record: 'client' } });
    const record = new MeshRecordBuilder(1).setMetadata({ record: 'record' }).build();
    await expect(derived.call('metadata', record)).resolves.toEqual({
      data: 1,
      metadata: { hook: 'hook', client: 'client', record: 'record' },
    });
  });

  it('holds for every client that is derived from it, also when it is set later', async () => {
    const { registry } = await service();
    const unbound = bench.client({ registry });
    const derived = unbound.to('service').with({ timeoutMs: 5_000 });
    unbound.setOnDispatchHook((packet) => {
      packet.metadata = { hook: 'parent' };
    });
    await expect(derived.call('metadata', 1)).resolves.toMatchObject({ metadata: { hook: 'parent' } });
    derived.setOnDispatchHook((packet) => {
      packet.metadata = { hook: 'own' };
    });
    await expect(derived.call('metadata', 1)).resolves.toMatchObject({ metadata: { hook: 'own' } });
    await expect(unbound.to('service').call('metadata', 1)).resolves.toMatchObject({
      metadata: { hook: 'parent' },
    });
  });

  it('that throws fails the call, and an event that it loses is logged', async () => {
    const { client, logs } = await service();
    client.setOnDispatchHook(() => {
      throw new Error('the dispatch hook throws');
    });
    await expect(client.call('metadata', 1)).rejects.toThrow('the dispatch hook throws');
    client.emit('event', {});
    await until(
      () => logs.find('error', 'was lost', 'the dispatch hook throws').length === 1,
      'the loss is logged',
    );
  });
});
