/** A fake service is a real one to its callers, and remembers what it was sent. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger, NotFoundException } from '@nestjs/common';
import { RpcException } from '@nestjs/microservices';
import { from, throwError, toArray, lastValueFrom } from 'rxjs';
import { MeshClientProxy } from '../../lib/nest/mesh.client-proxy.js';
import type { MeshChannel } from '../../lib/nest/mesh.channel.js';
import type { MeshContext } from '../../lib/nest/mesh.context.js';
import { MeshExceptionFilter } from '../../lib/nest/mesh-exception.filter.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { TestMesh } from '../../lib/testing/test-mesh.js';
import { failureOf } from '../support/mesh-fixture.js';

let mesh: TestMesh;
beforeEach(() => {
  mesh = new TestMesh();
  // What fakes throw is logged, as Nest logs it.
  Logger.overrideLogger(false);
});
afterEach(async () => {
  Logger.overrideLogger(true);
  await mesh.close();
});

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

describe('A fake service', () => {
  it('answers with values, Promises, Observables, AsyncIterables and generators', async () => {
    await mesh.service('math', {
      value: (n: number) => n + 1,
      promise: async (n: number) => n + 2,
      observable: (n: number) => from([n, n + 1]),
      async *generator(n: number) {
        yield n;
        yield n * 10;
      },
    });
    const client = mesh.client().to('math');
    expect(await client.call('value', 1)).toBe(2);
    expect(await client.call('promise', 1)).toBe(3);
    expect(await lastValueFrom(client.send('observable', 1).pipe(toArray()))).toEqual([1, 2]);
    expect(await collect(client.stream('generator', 1))).toEqual([1, 10]);
  });

  it('reads streams of input', async () => {
    await mesh.service('math', {
      sum: async (numbers: AsyncIterable<number>) => {
        let sum = 0;
        for await (const n of numbers) sum += n;
        return sum;
      },
    });
    expect(
      await mesh
        .client()
        .to('math')
        .call('sum', from([1, 2, 3])),
    ).toBe(6);
  });

  it('remembers calls, events and channels in order, with who sent them and how', async () => {
    const fake = await mesh.service(
      'orders',
      { get: (id: string) => id },
      {
        events: { 'user.*': () => undefined },
        channels: {
          echo: async (channel: MeshChannel<string, string>) => {
            for await (const value of channel) await channel.send(value);
          },
        },
      },
    );
    const client = mesh.client('gateway').to('orders');
    await client.with({ metadata: { trace: '1' } }).call('get', 'a');
    client.emit('user.created', { name: 'Ada' });
    await fake.waitFor('user.created');
    const channel = await client.channel<string, string>('echo');
    await channel.send('hi');
    channel.end();
    expect(await collect(channel)).toEqual(['hi']);
    expect(fake.received).toMatchObject([
      { kind: 'call', pattern: 'get', data: 'a', metadata: { trace: '1' }, from: 'gateway' },
      { kind: 'event', pattern: 'user.created', data: { name: 'Ada' }, from: 'gateway' },
      { kind: 'channel', pattern: 'echo', from: 'gateway' },
    ]);
    expect(fake.receivedOf('get').map(({ data }) => data)).toEqual(['a']);
    fake.clear();
    expect(fake.received).toEqual([]);
  });

  it('gives its handlers the context of Nest', async () => {
    await mesh.service('who', { asks: (_: unknown, context: MeshContext) => context.peer.service });
    expect(await mesh.client('gateway').to('who').call('asks', 1)).toBe('gateway');
  });

  it('throws as a controller does', async () => {
    await mesh.service('bad', {
      rpc: () => {
        throw new RpcException({ code: 'NO_STOCK' });
      },
      other: () => Promise.reject(new Error('secret')),
      observable: () => throwError(() => new RpcException('late')),
    });
    const client = mesh.client().to('bad');
    await expect(client.call('rpc', 1)).rejects.toEqual({ code: 'NO_STOCK' });
    await expect(client.call('other', 1)).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
    await expect(client.call('observable', 1)).rejects.toEqual({ status: 'error', message: 'late' });
  });

  it('takes the filter that the service has', async () => {
    const get = (): never => {
      throw new NotFoundException('no order 7');
    };
    await mesh.service('orders', { get }, { filter: new MeshExceptionFilter() });
    await expect(mesh.client().to('orders').call('get', 7)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'no order 7',
    });
  });

  it('has the options of a node', async () => {
    const fake = await mesh.service('math', {}, { options: { limits: { maxFrameBytes: 1_000 } } });
    expect(fake.node.options.limits.maxFrameBytes).toBe(1_000);
  });

  it('answers a pattern it has not as a service without that handler', async () => {
    await mesh.service('math', {});
    await expect(mesh.client().to('math').call('nothing', 1)).rejects.toBeDefined();
  });

  it('says what came in the place of what was waited for', async () => {
    const fake = await mesh.service('math', { double: (n: number) => n * 2 });
    await mesh.client().to('math').call('double', 1);
    await expect(fake.waitFor('triple', 2, 50)).rejects.toThrow(
      "math-1 did not receive 'triple' 2 time(s) within 50 ms; it received: double",
    );
  });

  it('leaves in order when it is closed, and another node goes on', async () => {
    const first = await mesh.service('math', { who: () => 1 });
    await mesh.service('math', { who: () => 2 });
    await first.close();
    const client = mesh.client().to('math');
    for (let n = 0; n < 4; n += 1) expect(await client.call('who', 1)).toBe(2);
  });
});

describe('Three fake nodes of one service', () => {
  it('share the calls evenly, and after a crash the two that are left do', async () => {
    const fakes = [];
    for (let n = 0; n < 3; n += 1) fakes.push(await mesh.service('math', { who: () => n }));
    const client = MeshClientProxy.over(mesh.node({ service: 'test', picker: roundRobin })).to('math');
    // The first calls go to whoever is connected first.
    await Promise.all(fakes.map((fake) => callUntilReceived(client, fake)));
    for (const fake of fakes) fake.clear();
    for (let n = 0; n < 30; n += 1) await client.call('who', n);
    expect(fakes.map(({ received }) => received.length)).toEqual([10, 10, 10]);
    await mesh.crash('math-2');
    for (const fake of fakes) fake.clear();
    for (let n = 0; n < 30; n += 1) await client.call('who', n);
    expect(fakes.map(({ received }) => received.length)).toEqual([15, 0, 15]);
  });

  it('all get what is broadcast', async () => {
    const fakes = [];
    for (let n = 0; n < 3; n += 1)
      fakes.push(await mesh.service('cache', {}, { events: { flush: () => undefined } }));
    const ids = await mesh.client().to('cache').broadcast('flush', 'all');
    expect(new Set(ids)).toEqual(new Set(fakes.map(({ node }) => node.id)));
    for (const fake of fakes) expect(await fake.waitFor('flush')).toHaveLength(1);
  });
});

async function callUntilReceived(
  client: { call(pattern: string, data: number): Promise<unknown> },
  fake: { received: unknown[] },
): Promise<void> {
  while (fake.received.length === 0) await client.call('who', 0);
}

it('A fake service that cannot be reached fails its caller within the timeout of the call', async () => {
  const error = await failureOf(mesh.client().to('nobody').with({ timeoutMs: 50 }).call('x', 1));
  expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
});
