/** `MeshClientProxy` as a `ClientProxy` of Nest, and its life between calls. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { ClientProxyFactory, MessagePattern } from '@nestjs/microservices';
import { InvalidMessageException } from '@nestjs/microservices/errors/invalid-message.exception.js';
import { randomUUID } from 'node:crypto';
import type { Http2Server } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { firstValueFrom, lastValueFrom, NEVER, repeat, retry, toArray, type Observable } from 'rxjs';
import {
  MeshClientProxy,
  MeshError,
  MeshNode,
  MeshServer,
  type MeshClientOptions,
  type MeshStatus,
} from '../../lib/index.js';
import { freePort } from '../support/redis-server.js';
import { until, useBench, valuesOf } from './nest-fixture.js';

let calls = 0;

@Controller()
class CountingController {
  @MessagePattern('count')
  count(): number {
    calls += 1;
    return calls;
  }
  @MessagePattern('flaky')
  flaky(): number {
    calls += 1;
    if (calls < 3) throw new Error('not yet');
    return calls;
  }
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('never')
  never(): Observable<never> {
    return NEVER;
  }
}

describe('a client of the mesh', () => {
  const bench = useBench();
  beforeEach(() => {
    calls = 0;
  });
  const service = () => bench.start({ controllers: [CountingController] });

  it('sends nothing before it is subscribed to, and one request for each subscription', async () => {
    const { client } = await service();
    const call = client.send('count', {});
    await client.call('echo', 1);
    expect(calls).toBe(0);
    await expect(firstValueFrom(call)).resolves.toBe(1);
    await expect(firstValueFrom(call)).resolves.toBe(2);
    await expect(lastValueFrom(call.pipe(repeat(3), toArray()))).resolves.toEqual([3, 4, 5]);
  });

  it('works with retry()', async () => {
    const { client } = await service();
    await expect(firstValueFrom(client.send('flaky', {}).pipe(retry(2)))).resolves.toBe(3);
  });

  it.each([
    ['pattern', null, {}],
    ['pattern', undefined, {}],
    ['data', 'echo', null],
    ['data', 'echo', undefined],
  ])('refuses a %s that is nothing when it is subscribed to: %p, %p', async (_what, pattern, data) => {
    const { client } = await service();
    for (const observable of [client.send(pattern, data), client.emit(pattern, data)]) {
      await expect(valuesOf(observable)).rejects.toBeInstanceOf(InvalidMessageException);
    }
    await expect(client.call(pattern, data)).rejects.toBeInstanceOf(InvalidMessageException);
  });

  it('sends data that is empty but not nothing', async () => {
    const { client } = await service();
    for (const data of ['', 0, false, [], {}]) await expect(client.call('echo', data)).resolves.toEqual(data);
  });

  it('works again after close(), as often as one likes', async () => {
    const { client } = await service();
    await expect(client.call('echo', 1)).resolves.toBe(1);
    await client.close();
    await expect(client.call('echo', 2)).resolves.toBe(2);
    await Promise.all([client.close(), client.close()]);
    await client.connect();
    await expect(client.call('echo', 3)).resolves.toBe(3);
  });

  it('fails the calls that are open when it is closed, and says that they may have run', async () => {
    const { client } = await service();
    await client.call('echo', 1);
    const call = client.call('never', {}).catch((error: unknown) => error);
    await client.call('echo', 1);
    await client.close();
    await expect(call).resolves.toMatchObject({
      name: 'MeshError',
      code: 'UNAVAILABLE',
      delivery: 'unknown',
    });
  });

  it('connects at once or says clearly that the registry is away', async () => {
    const port = await freePort();
    const client = bench.client({ registry: `redis://127.0.0.1:${port}`, registryTimeoutMs: 500 });
    const begun = performance.now();
    const error: unknown = await client.connect().catch((reason: unknown) => reason);
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    await expect(bench.client({ registry: `memory:${randomUUID()}` }).connect()).resolves.toBeUndefined();
  });

  it('waits for a service that is not there yet, and is served as soon as it comes', async () => {
    const registry = `memory:${randomUUID()}`;
    const client = bench.client({ registry, to: 'service' });
    const early = client.call('echo', 'early');
    await delay(50); // Long enough for the first look at an empty registry.
    await bench.start({ controllers: [CountingController] }, { options: { registry } });
    await expect(early).resolves.toBe('early');
  });

  it('says within the time limit of the call what it waited for', async () => {
    const registry = `memory:${randomUUID()}`;
    const client = bench.client({ registry, to: 'nobody' }).with({ timeoutMs: 60 });
    await expect(client.call({ cmd: 'x' }, 1)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      service: 'nobody',
      pattern: '{"cmd":"x"}',
      message: expect.stringMatching(
        /within 60 ms \(timeoutMs\): no node of service 'nobody' is listed in memory:/,
      ),
    });
  });

  it('that is bound to no service says how to name one', async () => {
    const client = bench.client({ registry: `memory:${randomUUID()}` });
    await expect(client.call('echo', 1)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(`client.to('service').send(...)`),
    });
    await expect(valuesOf(client.emit('echo', 1))).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await expect(client.broadcast('echo', 1)).rejects.toMatchObject({
      message: expect.stringContaining(`client.to('service').broadcast(...)`),
    });
    await expect(client.channel('echo')).rejects.toMatchObject({
      message: expect.stringContaining(`client.to('service').channel(...)`),
    });
  });

  it('refuses a target that can be no service, a timeout that is none, and options that are not valid', () => {
    const client = bench.client({ registry: `memory:${randomUUID()}` });
    expect(() => client.to('or*ders')).toThrow('or*ders');
    expect(() => client.to('')).toThrow(MeshError);
    expect(() => client.with({ timeoutMs: -1 })).toThrow('timeoutMs');
    expect(() => client.with({ timeoutMs: Number.NaN })).toThrow('timeoutMs');
    expect(() => new MeshClientProxy({ service: 'a', to: 'b:c' })).toThrow('b:c');
    expect(() => new MeshClientProxy({ service: '', port: -1, wrong: 1 } as MeshClientOptions)).toThrow(
      /service[^]*wrong is not an option[^]*|wrong is not an option[^]*port/,
    );
  });

  it('tells its status, at once and at each change', async () => {
    const { registry } = await service();
    const client = bench.client({ registry, to: 'service' });
    const heard: MeshStatus[] = [];
    const told: MeshStatus[] = [];
    const subscription = client.status.subscribe((status) => heard.push(status));
    client.on('status', (status) => told.push(status));
    expect(heard).toEqual(['disconnected']);
    await client.call('echo', 1);
    expect(heard).toEqual(['disconnected', 'connected']);
    expect(told).toEqual(['connected']);
    subscription.unsubscribe();
    expect(() => client.on('connect' as 'status', () => undefined)).toThrow("there is no event 'connect'");
  });

  it('goes on telling its status to subscribers after close(), which ends what on() began', async () => {
    const { client } = await service();
    const heard: MeshStatus[] = [];
    const told: string[] = [];
    client.on('status', (status) => told.push(status));
    client.on('peerConnected', (peer) => told.push(`connected to ${peer.service}`));
    client.on('peerLost', (peer) => told.push(`lost ${peer.service}`));
    client.status.subscribe((status) => heard.push(status));
    await client.call('echo', 1);
    await client.close();
    const untilClosed = ['connected', 'connected to service', 'lost service', 'disconnected'];
    expect(told).toEqual(untilClosed);
    await client.call('echo', 1);
    expect(told).toEqual(untilClosed);
    expect(heard).toEqual(['disconnected', 'connected', 'disconnected', 'connected']);
  });

  it('tells a bound client of the peers of its service only, and takes its listeners off a node that it shares', async () => {
    const { client, server, registry } = await service();
    const node = client.unwrap();
    const other = bench.keep(new MeshServer({ service: 'other', registry }));
    await new Promise((resolve) => other.listen(resolve));
    const told: string[] = [];
    const shared = MeshClientProxy.over(node);
    shared.on('peerConnected', (peer) => told.push(`any ${peer.service}`));
    client.on('peerConnected', (peer) => told.push(`bound ${peer.service}`));
    await shared.to('other').broadcast('note', 1);
    expect(told).toEqual(['any other']);
    await client.call('echo', 1);
    expect(told).toEqual(['any other', 'any service', 'bound service']);
    expect(shared.peers.map((peer) => peer.service).sort()).toEqual(['other', 'service']);
    expect(client.peers).toEqual([
      expect.objectContaining({ service: 'service', nodeId: server.nodeId, state: 'connected' }),
    ]);
    expect(client.to({ service: 'service', nodeId: randomUUID() }).peers).toEqual([]);
    await shared.close();
    server.on('peerLost', (peer) => told.push(`server lost ${peer.service}`));
    await client.close();
    expect(told.filter((line) => line.startsWith('any'))).toHaveLength(2);
    await until(() => told.includes('server lost caller'), 'the server hears of its peers too');
    expect(server.peers).toEqual([]);
  });

  it('names the events that there are when asked for another one', async () => {
    const { client } = await service();
    const events = 'status, peerConnected, peerUnreachable, peerDraining, peerLost';
    expect(() => client.on('error' as 'status', () => undefined)).toThrow(
      `there is no event 'error'; events: ${events}`,
    );
    expect(() => client.on('status', undefined as never)).toThrow("on('status') takes a function");
  });

  it('unwraps to its node, which all clients derived from it share', async () => {
    const { client } = await service();
    const node = client.unwrap();
    expect(node).toBeInstanceOf(MeshNode);
    expect(client.to('other').with({ timeoutMs: 1 }).unwrap()).toBe(node);
  });

  it('shares one connection with all clients derived from it', async () => {
    const { client, server } = await service();
    const derived = [
      client,
      client.to('service'),
      client.with({ timeoutMs: 100 }),
      client.to({ service: 'service' }),
    ];
    await Promise.all(derived.map((each) => each.call('echo', 1)));
    const connections = await new Promise((resolve, reject) => {
      server.unwrap<Http2Server>().getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });
    expect(connections).toBe(1);
  });

  it('is made by ClientProxyFactory as a custom class', async () => {
    const { registry } = await service();
    const options = { service: 'caller', registry, to: 'service' };
    const client = bench.keep(ClientProxyFactory.create({ customClass: MeshClientProxy, options }));
    await expect(firstValueFrom(client.send('echo', 1))).resolves.toBe(1);
  });

  it('keeps serializeError and serializeResponse of a subclass, also in the clients derived from it', async () => {
    class OwnClient extends MeshClientProxy {
      protected override serializeError(error: unknown): Error {
        return new Error(`own: ${(error as { message: string }).message}`);
      }
      protected override serializeResponse(response: unknown): unknown {
        return { wrapped: response };
      }
    }
    const { registry } = await service();
    const client = bench.keep(new OwnClient({ service: 'caller', registry, to: 'service' }));
    for (const each of [client, client.with({ timeoutMs: 5_000 }), client.to('service').with({})]) {
      await expect(each.call('echo', 1)).resolves.toEqual({ wrapped: 1 });
      await expect(each.call('flaky', 1)).rejects.toThrow('own: Internal server error');
      calls = 0;
    }
  });

  it('gives answers to the caller that asked, with many at once', async () => {
    const { client } = await service();
    const numbers = Array.from({ length: 500 }, (_, at) => at);
    await expect(Promise.all(numbers.map((n) => client.call('echo', n)))).resolves.toEqual(numbers);
  });

  it('takes further calls from inside the callbacks of a call', async () => {
    const { client } = await service();
    const got = await new Promise((resolve) => {
      client.send<number>('echo', 1).subscribe((one) => {
        client.send<number>('echo', one + 1).subscribe((two) => resolve([one, two]));
      });
    });
    expect(got).toEqual([1, 2]);
  });
});

describe('a server of the mesh', () => {
  const bench = useBench();

  it('unwraps to the server of node:http2 while it listens, and says clearly when it does not', async () => {
    const server = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}` });
    expect(() => server.unwrap()).toThrow('does not listen');
    const module = await bench.compile({ controllers: [CountingController] });
    const app = bench.keep(module.createNestMicroservice({ strategy: server }));
    await app.listen();
    expect(app.unwrap<{ listening: boolean }>().listening).toBe(true);
    await app.close();
    expect(() => server.unwrap()).toThrow('does not listen');
  });

  it('tells its status to the application, also to listeners from before listen()', async () => {
    const module = await bench.compile({ controllers: [CountingController] });
    const server = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}` });
    const app = bench.keep(module.createNestMicroservice({ strategy: server }));
    const heard: unknown[] = [];
    const told: unknown[] = [];
    app.status.subscribe((status) => heard.push(status));
    app.on('status', (status: unknown) => told.push(status));
    await app.listen();
    expect(heard).toEqual(['connected']);
    expect(told).toEqual(['connected']);
    expect(() => app.on('error', () => undefined)).toThrow("there is no event 'error'");
  });

  it('rejects listen() when the registry is away, naming it, and can be closed', async () => {
    const port = await freePort();
    const module = await bench.compile({ controllers: [CountingController] });
    const registry = `redis://127.0.0.1:${port}`;
    const app = bench.keep(
      module.createNestMicroservice({
        strategy: new MeshServer({ service: 'service', registry, registryTimeoutMs: 500 }),
      }),
    );
    await expect(app.listen()).rejects.toMatchObject({
      name: 'MeshError',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    await expect(app.close()).resolves.toBeUndefined();
  });

  it('rejects listen() when the port is taken, naming it', async () => {
    const { server } = await bench.start({});
    const { port } = server.unwrap<{ address(): { port: number } }>().address();
    const module = await bench.compile({});
    const second = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}`, port });
    const app = bench.keep(module.createNestMicroservice({ strategy: second }));
    await expect(app.listen()).rejects.toMatchObject({ message: expect.stringContaining(String(port)) });
  });

  it('may be closed before it listened, and twice', async () => {
    const server = new MeshServer({ service: 'service', registry: `memory:${randomUUID()}` });
    await server.close();
    await server.close();
  });

  it('lists every fault of its options at once', () => {
    const options = { service: 'a*b', port: 70_000, ttlMs: 5, colour: 'red' } as never;
    expect(() => new MeshServer(options)).toThrow(/colour[^]*a\*b[^]*ttlMs[^]*70000/);
  });
});
