/** What every registry guarantees, whatever it is kept in: run against Redis, a directory and the memory. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { RedisServer } from '../support/redis-server.js';
import { eventually, FAST, newRecord, ONE_BEAT_MS, pause, Registries, see } from './registry-fixture.js';

let server: RedisServer;
let directory: string;
beforeAll(async () => {
  server = await RedisServer.start();
  directory = await mkdtemp(join(tmpdir(), 'mesh-registry-'));
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

const registries = new Registries();
afterEach(() => registries.closeAll());

const kinds: [string, () => string][] = [
  ['redis', () => server.url],
  ['file', () => `file:${join(directory, randomUUID())}`],
  ['memory', () => `memory:${randomUUID()}`],
];

describe.each(kinds)('a %s registry', (_kind, newUrl) => {
  // Each test has a service of its own, since they share one Redis.
  function setUp() {
    const url = newUrl();
    return { a: registries.open(url), b: registries.open(url), service: `s-${randomUUID()}` };
  }

  it('shows an announced node to the others with all it said of itself', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({
      service,
      host: 'fe80::1',
      metadata: { zone: 'a', list: [1, { deep: true }] },
    });
    const seen = see(b, service);
    await seen.watch.ready;
    expect(seen.history).toEqual([[]]);
    await a.announce(record);
    await seen.waitFor([record.id]);
    expect(seen.nodes()).toEqual([record]);
  });

  it('shows a node that was announced before the watch began in its first answer', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    await a.announce(record);
    const seen = see(b, service);
    await seen.watch.ready;
    expect(seen.history).toEqual([[record.id]]);
  });

  it('keeps a node for as long as it is announced, and tells nobody of its heartbeats', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    const seen = see(b, service);
    await seen.watch.ready;
    await a.announce(record);
    // Three leases long: without heartbeats the record would be gone.
    await pause(3 * FAST.ttlMs);
    expect(seen.history).toEqual([[], [record.id]]);
  });

  it('takes a withdrawn node away within one heartbeat interval', async () => {
    const { a, b, service } = setUp();
    const [first, second] = [newRecord({ service }), newRecord({ service })];
    const announcement = await a.announce(first);
    await a.announce(second);
    const seen = see(b, service);
    await seen.waitFor([first.id, second.id]);
    await announcement.withdraw();
    await seen.waitFor([second.id], ONE_BEAT_MS);
    await pause(2 * FAST.heartbeatIntervalMs);
    expect(seen.history.at(-1)).toEqual([second.id]);
  });

  it('announces new metadata at once and keeps them', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service, metadata: { weight: 1 } });
    const announcement = await a.announce(record);
    const seen = see(b, service);
    await seen.waitFor([record.id]);
    await announcement.update({ weight: 2 });
    await eventually(() => expect(seen.nodes()[0]?.metadata).toEqual({ weight: 2 }));
    await pause(3 * FAST.heartbeatIntervalMs);
    expect(seen.nodes()[0]?.metadata).toEqual({ weight: 2 });
  });

  it('keeps services apart, also when one is called like the beginning of another', async () => {
    const { a, b, service } = setUp();
    const seen = see(b, service);
    await a.announce(newRecord({ service: `${service}-eu` }));
    await a.announce(newRecord({ service: `${service}/eu` }));
    const own = newRecord({ service });
    await a.announce(own);
    await seen.waitFor([own.id]);
    await pause(2 * FAST.heartbeatIntervalMs);
    expect(seen.history.flat()).toEqual([own.id]);
  });

  it('gives a second watch of the same service the known nodes, and each its own end', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    const first = see(b, service);
    await a.announce(record);
    await first.waitFor([record.id]);
    const second = see(b, service);
    await second.watch.ready;
    expect(second.history).toEqual([[record.id]]);
    first.watch.close();
    first.watch.close();
    await a.close();
    await second.waitFor([]);
    expect(first.history.at(-1)).toEqual([record.id]);
  });

  it('begins anew when a service is watched again', async () => {
    const { a, b, service } = setUp();
    see(b, service).watch.close();
    const record = newRecord({ service });
    await a.announce(record);
    await see(b, service).waitFor([record.id]);
  });

  it('goes on when a listener throws', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    const watch = b.watch(service, () => {
      throw new Error('a fault of the user');
    });
    await watch.ready;
    const seen = see(b, service);
    await a.announce(record);
    await seen.waitFor([record.id]);
    expect(registries.logger.warnings.join()).toContain('a fault of the user');
  });

  it('announces a node under several services, but under each only once', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    await a.announce(record);
    await a.announce({ ...record, service: `${service}-too` });
    await see(b, `${service}-too`).waitFor([record.id]);
    await expect(a.announce(record)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  });

  it.each([
    ['service', '*', 'the service name "*" is not allowed'],
    ['id', 'node-1', '"node-1" is not a UUID'],
    ['port', 0, 'its port 0'],
    ['port', 70_000, 'its port 70000'],
    ['host', '', 'its host ""'],
  ])('refuses to announce a node with the %s %j', async (field, value, reason) => {
    const { a } = setUp();
    const refused = a.announce({ ...newRecord(), [field]: value });
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(refused).rejects.toThrow(reason);
  });

  it('refuses metadata that JSON cannot hold, and leaves what is announced as it was', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service, metadata: { weight: 1 } });
    const announcement = await a.announce(record);
    await expect(announcement.update({ big: 1n })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const seen = see(b, service);
    await seen.waitFor([record.id]);
    expect(seen.nodes()[0]?.metadata).toEqual({ weight: 1 });
  });

  it.each(['*', 'a:b', '', 'x'.repeat(300)])('refuses to watch the service %j', (service) => {
    const { a } = setUp();
    let fault: unknown;
    try {
      a.watch(service, () => undefined);
    } catch (error) {
      fault = error;
    }
    expect(MeshError.is(fault) && fault.code).toBe('INVALID_ARGUMENT');
  });

  it('withdraws at close what it announced, and then refuses to be used', async () => {
    const { a, b, service } = setUp();
    const record = newRecord({ service });
    const announcement = await a.announce(record);
    const seen = see(b, service);
    await seen.waitFor([record.id]);
    await Promise.all([a.close(), a.close()]);
    await seen.waitFor([], ONE_BEAT_MS);
    await expect(a.connect()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await expect(a.announce(record)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await expect(announcement.update({})).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await announcement.withdraw();
    expect(() => a.watch(service, () => undefined)).toThrow('was closed');
    expect(a.status).toEqual({ state: 'idle' });
  });

  it('resolves `ready` of a watch that is closed before the first answer', async () => {
    const { a, service } = setUp();
    const { ready, close } = a.watch(service, () => undefined);
    close();
    await ready;
  });

  it('tells of its status once it works', async () => {
    const { a } = setUp();
    const told: string[] = [];
    const stop = a.onStatus(({ state }) => told.push(state));
    await Promise.all([a.connect(), a.connect()]);
    stop();
    await a.close();
    expect(told).toEqual(['connected']);
  });
});
