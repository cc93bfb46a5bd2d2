/** What stands in Redis, key by key, and what a peer finds that somebody else wrote there. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { toRecordJson } from '../../lib/registry/node-record.js';
import { RedisServer } from '../support/redis-server.js';
import { eventually, FAST, newRecord, ONE_BEAT_MS, pause, Registries, see } from './registry-fixture.js';

let server: RedisServer;
let redis: Redis;
const registries = new Registries();

beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});
beforeEach(async () => {
  await redis.flushall();
});
afterEach(async () => {
  await registries.closeAll();
  registries.logger.warnings.length = 0;
});

/** A heartbeat interval that no test lives to see: what happens then happens through the events. */
const HOUR = { heartbeatIntervalMs: 3_600_000, ttlMs: 36_000_000 };

describe('an announced node in Redis', () => {
  it('is exactly the key, the value and the TTL of the protocol, a member of the index, and in the log', async () => {
    const registry = registries.open(server.url, { timings: { heartbeatIntervalMs: 2_000, ttlMs: 10_000 } });
    const record = newRecord({ service: '@shop/orders', metadata: { zone: 'a' } });
    await registry.announce(record);
    const key = `mesh:service:@shop/orders:${record.id}`;
    expect((await redis.keys('mesh:*')).toSorted()).toEqual([
      'mesh:changes:@shop/orders',
      'mesh:index:@shop/orders',
      key,
    ]);
    expect(await logged('@shop/orders')).toEqual([record.id]);
    expect(await redis.get(key)).toBe(
      `{"id":"${record.id}","service_name":"@shop/orders","host":"127.0.0.1","port":4000,"metadata":{"zone":"a"}}`,
    );
    const ttlMs = await redis.pttl(key);
    expect(ttlMs).toBeGreaterThan(9_000);
    expect(ttlMs).toBeLessThanOrEqual(10_000);
    const score = Number(await redis.zscore('mesh:index:@shop/orders', record.id));
    const [seconds] = await redis.time();
    expect(Math.abs(score - (Number(seconds) * 1_000 + 10_000))).toBeLessThan(2_000);
  });

  it('has the expiry in its index by the clock of Redis, though the clock of the node is an hour wrong', async () => {
    const clock = {
      now: () => Date.now() + 3_600_000,
      random: Math.random,
      setTimer: (delayMs: number, task: () => void) => {
        const timer = setTimeout(task, delayMs);
        return () => clearTimeout(timer);
      },
    };
    const record = newRecord();
    await registries.open(server.url, { clock }).announce(record);
    const score = Number(await redis.zscore('mesh:index:orders', record.id));
    expect(Math.abs(score - (Date.now() + FAST.ttlMs))).toBeLessThan(1_000);
    await see(registries.open(server.url)).waitFor([record.id]);
  });

  it('is written whole at each heartbeat, so that a flushed Redis heals in one', async () => {
    const record = newRecord({ metadata: { zone: 'a' } });
    await registries.open(server.url).announce(record);
    await redis.flushall();
    await eventually(async () => {
      expect(await redis.get(`mesh:service:orders:${record.id}`)).toBe(toRecordJson(record));
      expect(await redis.zscore('mesh:index:orders', record.id)).not.toBeNull();
    }, ONE_BEAT_MS);
  });

  it('leaves only the log behind when it is withdrawn, which ends by itself, and says so', async () => {
    const events = await listen();
    const record = newRecord();
    const announcement = await registries.open(server.url).announce(record);
    await announcement.update({ zone: 'b' });
    await pause(3 * FAST.heartbeatIntervalMs);
    await Promise.all([announcement.withdraw(), announcement.withdraw()]);
    expect(await redis.keys('mesh:*')).toEqual(['mesh:changes:orders']);
    expect(await redis.pttl('mesh:changes:orders')).toBeGreaterThan(3_500_000);
    expect(await logged('orders')).toEqual([record.id, record.id, record.id]);
    const wire = { id: record.id, service_name: 'orders', host: '127.0.0.1', port: 4_000, metadata: {} };
    await eventually(() => {
      expect(events.filter(([channel]) => channel === 'mesh:events')).toHaveLength(3);
      expect(
        events.filter(([channel]) => channel === 'mesh:events:orders').map(([, event]) => event),
      ).toEqual([
        { event: 'join', service: 'orders', id: record.id, record: wire },
        { event: 'join', service: 'orders', id: record.id, record: { ...wire, metadata: { zone: 'b' } } },
        { event: 'leave', service: 'orders', id: record.id },
      ]);
    });
  });

  it('is not written again by a heartbeat that was under way when it was withdrawn', async () => {
    const registry = registries.open(server.url, { timings: { heartbeatIntervalMs: 10, ttlMs: 10_000 } });
    for (let round = 0; round < 20; round += 1) {
      const announcement = await registry.announce(newRecord());
      await pause(round);
      await announcement.withdraw();
    }
    await pause(50);
    expect(await redis.keys('mesh:service:*')).toEqual([]);
  });

  it('rids the index of members that expired long ago, and lets an index that nobody uses disappear', async () => {
    await redis.zadd(
      'mesh:index:orders',
      Date.now() - 3_600_000,
      randomUUID(),
      Date.now() - 1_000,
      randomUUID(),
    );
    await registries.open(server.url).announce(newRecord());
    expect(await redis.zcard('mesh:index:orders')).toBe(2);
    expect(await redis.pttl('mesh:index:orders')).toBeGreaterThan(3_500_000);
  });

  async function listen(): Promise<[channel: string, event: unknown][]> {
    const events: [string, unknown][] = [];
    const subscriber = redis.duplicate();
    await subscriber.subscribe('mesh:events', 'mesh:events:orders');
    subscriber.on('message', (channel, message) => events.push([channel, JSON.parse(message)]));
    closers.push(() => subscriber.disconnect());
    return events;
  }
});

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

describe('a watch in Redis', () => {
  it('sees a join and a leave at once through the events, without waiting for its next look', async () => {
    const seen = see(registries.open(server.url, { timings: HOUR }));
    await seen.watch.ready;
    const record = newRecord();
    const announcement = await registries.open(server.url, { timings: HOUR }).announce(record);
    await seen.waitFor([record.id], 500);
    await announcement.withdraw();
    await seen.waitFor([], 500);
  });

  it('does not take the word of an event for a node, nor for its end', async () => {
    const registry = registries.open(server.url);
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registry);
    await seen.waitFor([record.id]);
    const lies = [
      JSON.stringify({ event: 'leave', service: 'orders', id: record.id }),
      JSON.stringify({ event: 'join', service: 'orders', id: randomUUID(), record: {} }),
      'no JSON',
      'null',
      '[]',
      '{"event":"join"}',
    ];
    for (const lie of lies) await redis.publish('mesh:events:orders', lie);
    await pause(3 * FAST.heartbeatIntervalMs);
    expect(seen.history.filter((ids) => ids.length > 0)).toEqual([[record.id]]);
  });

  it('finds joins and leaves within a heartbeat interval by looking alone, where events are not permitted', async () => {
    await redis.call('ACL', 'SETUSER', 'quiet', 'on', '>pw', '~mesh:*', '+@all', 'resetchannels');
    const url = server.url.replace('redis://', 'redis://quiet:pw@');
    const seen = see(registries.open(url));
    await seen.watch.ready;
    const record = newRecord();
    const announcement = await registries.open(url).announce(record);
    await seen.waitFor([record.id], ONE_BEAT_MS);
    await announcement.withdraw();
    await seen.waitFor([], ONE_BEAT_MS);
    const { warnings } = registries.logger;
    expect(warnings.filter((text) => text.includes('cannot subscribe to mesh:events:orders'))).toHaveLength(
      1,
    );
    expect(warnings.filter((text) => text.includes('cannot publish on mesh:events'))).toHaveLength(1);
  });

  it('works from the index where SCAN is not permitted, with one warning', async () => {
    await redis.call('ACL', 'SETUSER', 'noscan', 'on', '>pw', '~mesh:*', '&*', '+@all', '-scan');
    const registry = registries.open(server.url.replace('redis://', 'redis://noscan:pw@'));
    const seen = see(registry);
    await seen.watch.ready;
    const record = newRecord();
    await registry.announce(record);
    await seen.waitFor([record.id]);
    await pause(10 * FAST.heartbeatIntervalMs);
    expect(registries.logger.warnings).toEqual([expect.stringContaining('cannot scan for peers')]);
    expect(registry.status.state).toBe('connected');
  });

  it('asks Redis as much for 200 nodes as for one', async () => {
    const commandsOfFiveLooks = async (): Promise<number> => {
      const registry = registries.open(server.url, { timings: HOUR });
      const seen = see(registry);
      await seen.watch.ready;
      await pause(100);
      const before = await commandCount();
      for (let look = 0; look < 5; look += 1) {
        seen.watch.refresh();
        await pause(60);
      }
      const after = await commandCount();
      await registry.close();
      return after - before;
    };
    await write(newRecord(), true);
    const forOne = await commandsOfFiveLooks();
    expect(forOne).toBeGreaterThanOrEqual(10);
    for (let count = 0; count < 199; count += 1) await write(newRecord(), true);
    expect(await commandsOfFiveLooks()).toBe(forOne);
  });

  it.each([
    ['one connection', {}, 1],
    ['one connection for commands and one for events, where Redis speaks RESP2 only', { protocol: 2 }, 2],
  ] as const)('has %s, for all watches and announcements', async (_, settings, connections) => {
    const registry = registries.open(server.url, { redis: settings });
    await Promise.all([newRecord(), newRecord(), newRecord()].map((record) => registry.announce(record)));
    for (const service of ['a', 'b', 'c']) await see(registry, service).watch.ready;
    const clients = (await redis.client('LIST')) as string;
    expect(clients.split('\n').filter((line) => line.includes('name=nestjs-mesh'))).toHaveLength(connections);
    const record = newRecord({ service: 'c' });
    const seen = see(registry, 'c');
    await registries.open(server.url).announce(record);
    await seen.waitFor([record.id]);
    await registries.closeAll();
    await eventually(async () => {
      expect(String(await redis.client('LIST'))).not.toContain('name=nestjs-mesh');
    });
  });
});

describe('a peer that keeps only the fixed part of the protocol', () => {
  it('is found by the first look, and added to the index for everybody', async () => {
    const record = newRecord();
    await write(record);
    const seen = see(registries.open(server.url));
    await seen.watch.ready;
    expect(seen.history).toEqual([[record.id]]);
    expect(await redis.zrange('mesh:index:orders', '0', '-1')).toEqual([record.id]);
  });

  it('is found among others that keep an index, when it comes later', async () => {
    const registry = registries.open(server.url);
    const indexed = newRecord();
    await registry.announce(indexed);
    const seen = see(registries.open(server.url));
    await seen.waitFor([indexed.id]);
    const plain = newRecord();
    await write(plain);
    await seen.waitFor([indexed.id, plain.id], 8 * FAST.heartbeatIntervalMs);
  });

  it('is found by a watch that knew nobody for a while', async () => {
    const seen = see(registries.open(server.url));
    await seen.watch.ready;
    await pause(5 * FAST.heartbeatIntervalMs);
    const plain = newRecord();
    await write(plain);
    await seen.waitFor([plain.id], 8 * FAST.heartbeatIntervalMs);
  });

  it('is gone within a heartbeat interval after its DEL, and after the end of its lease', async () => {
    const [leaving, dying] = [newRecord(), newRecord()];
    await write(leaving);
    await write(dying);
    const seen = see(registries.open(server.url));
    await seen.waitFor([leaving.id, dying.id]);
    await redis.del(`mesh:service:orders:${leaving.id}`);
    await seen.waitFor([dying.id], ONE_BEAT_MS);
    await redis.pexpire(`mesh:service:orders:${dying.id}`, 50);
    await seen.waitFor([], 50 + ONE_BEAT_MS);
  });

  it('may write no metadata', async () => {
    const { id } = newRecord();
    const bare = JSON.stringify({ id, service_name: 'orders', host: 'h', port: 1 });
    await redis.set(`mesh:service:orders:${id}`, bare, 'EX', 60);
    const seen = see(registries.open(server.url));
    await seen.waitFor([id]);
    expect(seen.nodes()[0]?.metadata).toEqual({});
  });

  it('does not make all processes scan: together they scan about as often as one', async () => {
    const watchers = Array.from({ length: 10 }, () => see(registries.open(server.url)));
    await Promise.all(watchers.map(({ watch }) => watch.ready));
    await pause(200);
    const before = await scanCount();
    // Time for 20 looks of each of the ten: 40 scans if each did its own, every fifth look.
    await pause(20 * FAST.heartbeatIntervalMs);
    expect((await scanCount()) - before).toBeLessThan(12);
  });
});

describe('a malformed record', () => {
  it('is ignored with one warning that names it and the fault, whether indexed or found by SCAN', async () => {
    const good = newRecord();
    await write(good, true);
    const faults: [string, object | string, RegExp][] = [
      [randomUUID(), '{"id":', /not JSON/],
      [randomUUID(), { id: randomUUID() }, /is not the id/],
      [randomUUID(), { port: 0 }, /its port 0/],
      [randomUUID(), { port: 70_000 }, /its port 70000/],
      [randomUUID(), { host: '' }, /its host ""/],
      [randomUUID(), { service_name: 'billing' }, /its service_name "billing"/],
    ];
    for (const indexed of [true, false]) {
      for (const [id, fields] of faults) {
        const wire = { id, service_name: 'orders', host: 'h', port: 1, metadata: {} };
        const json = typeof fields === 'string' ? fields : JSON.stringify({ ...wire, ...fields });
        await redis.set(`mesh:service:orders:${id}`, json);
        if (indexed) await redis.zadd('mesh:index:orders', Date.now() + 60_000, id);
        else await redis.zrem('mesh:index:orders', id);
      }
      registries.logger.warnings.length = 0;
      const seen = see(registries.open(server.url));
      await seen.waitFor([good.id]);
      await pause(12 * FAST.heartbeatIntervalMs);
      expect(seen.history.flat()).toEqual([good.id]);
      for (const [id, , reason] of faults) {
        const warnings = registries.logger.warnings.filter((text) => text.includes(id));
        expect(warnings).toEqual([expect.stringMatching(reason)]);
      }
      await registries.closeAll();
    }
  });

  it('that is no string, or stands under a key that is none, is ignored too', async () => {
    const list = randomUUID();
    await redis.rpush(`mesh:service:orders:${list}`, 'x');
    await redis.set('mesh:service:orders:not-a-uuid', '{}');
    await redis.zadd('mesh:index:orders', Date.now() + 60_000, list, `${Date.now() + 60_000}`, '../../etc');
    const registry = registries.open(server.url);
    const seen = see(registry);
    await seen.watch.ready;
    await pause(3 * FAST.heartbeatIntervalMs);
    expect(seen.history).toEqual([[]]);
    expect(registry.status.state).toBe('connected');
  });

  it('cannot be reached by glob characters in a name: they are refused, and a + or . means itself', async () => {
    const registry = registries.open(server.url);
    for (const service of ['*', 'order?', 'o[a-z]ders', 'a*b', String.raw`a\*`]) {
      expect(() => registry.watch(service, () => undefined)).toThrow('is not allowed');
    }
    await write(newRecord({ service: 'axb' }));
    const seen = see(registry, 'a.b');
    await seen.watch.ready;
    expect(seen.history).toEqual([[]]);
  });
});

/** Writes a record as a peer does that knows only the fixed part; with `indexed` also into the index. */
async function write(record: ReturnType<typeof newRecord>, indexed = false): Promise<void> {
  await redis.set(`mesh:service:${record.service}:${record.id}`, toRecordJson(record), 'PX', 60_000);
  if (indexed) await redis.zadd(`mesh:index:${record.service}`, Date.now() + 60_000, record.id);
}

async function commandCount(): Promise<number> {
  const stats = await redis.info('commandstats');
  const own = /cmdstat_(?:info|ping)[^:]*:/;
  const counts = stats.split('\r\n').filter((line) => line.startsWith('cmdstat_') && !own.test(line));
  return counts.reduce((sum, line) => sum + Number(/calls=(\d+)/.exec(line)?.[1]), 0);
}

/** The ids in the log of a service, in order. */
async function logged(service: string): Promise<(string | undefined)[]> {
  const entries = await redis.xrange(`mesh:changes:${service}`, '-', '+');
  return entries.map(([, fields]) => fields[1]);
}

async function scanCount(): Promise<number> {
  const stats = await redis.info('commandstats');
  return Number(/cmdstat_scan:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}
