/** What discovery asks of Redis: the same for many nodes as for few, and nothing missed for it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { toRecordJson } from '../../lib/registry/node-record.js';
import { RedisServer } from '../support/redis-server.js';
import type { RegistryClock } from '../../lib/registry/registry-clock.js';
import {
  eventually,
  FAST,
  ManualClock,
  newRecord,
  ONE_BEAT_MS,
  pause,
  Registries,
  see,
} from './registry-fixture.js';

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
});

/** A heartbeat interval that no test lives to see: each beat and each look is asked for. */
const HOUR = { heartbeatIntervalMs: 3_600_000, ttlMs: 36_000_000, registryTimeoutMs: 3_600_000 };

describe('a node at rest', () => {
  it('asks Redis for as much in a service of 200 nodes as in one of 20: commands and bytes', async () => {
    const few = await costOfThreeBeats(20);
    const many = await costOfThreeBeats(200);
    expect(many.calls).toEqual(few.calls);
    expect(many.calls).toEqual({ set: 3, zadd: 3, mget: 3, xread: 3, zrangebyscore: 3 });
    // A second record more would show: each has over 150 bytes. Numbers may have a digit more.
    expect(Math.abs(many.bytesOut - few.bytesOut)).toBeLessThan(50);
    expect(Math.abs(many.bytesIn - few.bytesIn)).toBeLessThan(50);
  });

  it('asks for its beat and all its looks in one write', async () => {
    const registry = registries.open(server.url);
    await registry.announce(newRecord());
    for (const service of ['orders', 'billing', 'stock']) await see(registry, service).watch.ready;
    // Lets the first looks, which come one by one, pass.
    await pause(3 * FAST.heartbeatIntervalMs);
    const before = await counters();
    await pause(10 * FAST.heartbeatIntervalMs);
    const after = await counters();
    const beats = (after.calls['set'] ?? 0) - (before.calls['set'] ?? 0);
    expect(beats).toBeGreaterThan(5);
    // Sweeps, scans and other looks of their own are reads too, but rare.
    expect(after.reads - before.reads).toBeLessThan(2 * beats);
  });

  it('reads the logs of all services that it watches in one command', async () => {
    const registry = registries.open(server.url);
    for (const service of ['orders', 'billing', 'stock']) await see(registry, service).watch.ready;
    // Lets the first looks, which come one by one, pass.
    await pause(3 * FAST.heartbeatIntervalMs);
    const before = (await counters()).calls;
    await pause(10 * FAST.heartbeatIntervalMs);
    const after = (await counters()).calls;
    const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    expect(grown('zrangebyscore')).toBeGreaterThan(15);
    expect(grown('xread')).toBeLessThan(grown('zrangebyscore') / 2);
    // What is added to one of them is seen by its own watch alone.
    const [orders, billing] = [newRecord({ service: 'orders' }), newRecord({ service: 'billing' })];
    const seen = see(registry, 'orders');
    await registries.open(server.url).announce(billing);
    await registries.open(server.url).announce(orders);
    await seen.waitFor([orders.id]);
  });

  it('walks the keyspace together with all others about once in five intervals, for all services', async () => {
    const services = Array.from({ length: 10 }, (_, at) => `s${at}`);
    const watching = services.map((service) => see(registries.open(server.url), service));
    await Promise.all(watching.map(({ watch }) => watch.ready));
    const plain = services.map((service) => newRecord({ service }));
    for (const record of plain)
      await redis.set(`mesh:service:${record.service}:${record.id}`, toRecordJson(record), 'PX', 60_000);
    for (const [at, seen] of watching.entries()) await seen.waitFor([plain[at]?.id ?? '']);
    const before = await counters();
    await pause(20 * FAST.heartbeatIntervalMs);
    const after = await counters();
    // One by one, they would be 40.
    expect((after.calls['scan'] ?? 0) - (before.calls['scan'] ?? 0)).toBeLessThan(8);
  });

  /** What three heartbeat intervals of one node cost that announces itself in a service of so many and watches it. */
  async function costOfThreeBeats(nodes: number): Promise<Omit<Counters, 'reads' | 'infoBytes'>> {
    await redis.flushall();
    const others = registries.open(server.url, { timings: HOUR });
    for (let at = 1; at < nodes; at += 1) await others.announce(newRecord());
    // Real Redis, but the time of the node stands still until it is moved, so that nothing happens in between.
    const clock = new ManualClock(Date.now());
    const registry = registries.open(server.url, { timings: { ...HOUR, heartbeatIntervalMs: 2_000 }, clock });
    await registry.announce(newRecord());
    const seen = see(registry);
    await seen.watch.ready;
    expect(seen.nodes()).toHaveLength(nodes);
    // At rest two timers are set: the pulse and the next sign of life. Each command under way has one of its own.
    const rest = (): Promise<void> => eventually(() => expect(clock.pending).toBe(2));
    const beat = async (): Promise<void> => {
      await rest();
      await clock.advance(2_000);
      await rest();
    };
    await beat();
    // The walk of the first look goes on beside it for a moment.
    await pause(50);
    const before = await counters();
    // The fifth after the first look would walk the keyspace, which is done once for everybody.
    for (let count = 0; count < 3; count += 1) await beat();
    const after = await counters();
    await registry.close();
    await others.close();
    const names = Object.keys(after.calls).filter((name) => name !== 'info');
    const grown = names.map((name) => [name, (after.calls[name] ?? 0) - (before.calls[name] ?? 0)] as const);
    return {
      calls: Object.fromEntries(grown.filter(([, calls]) => calls > 0)),
      bytesIn: after.bytesIn - before.bytesIn,
      // What is counted when it is sent: the answer to the first INFO, but not to the second.
      bytesOut: after.bytesOut - before.bytesOut - before.infoBytes,
    };
  }
});

describe('a watch that reads only what has changed', () => {
  it('reads everything again when more has changed than the log keeps', async () => {
    const seen = see(registries.open(server.url));
    await seen.watch.ready;
    const record = newRecord();
    const pipeline = redis.pipeline();
    pipeline.set(`mesh:service:orders:${record.id}`, toRecordJson(record), 'PX', 60_000);
    pipeline.zadd('mesh:index:orders', Date.now() + 60_000, record.id);
    for (let at = 0; at < 3_000; at += 1)
      pipeline.xadd('mesh:changes:orders', 'MAXLEN', '~', 1_000, '*', 'ids', randomUUID());
    await pipeline.exec();
    await seen.waitFor([record.id]);
  });

  it('sees a node again that stood still for longer than its lease', async () => {
    const clock = new StoppableClock();
    const record = newRecord();
    await registries.open(server.url, { clock }).announce(record);
    const seen = see(registries.open(server.url));
    await seen.waitFor([record.id]);
    clock.stop();
    await seen.waitFor([], 2 * FAST.ttlMs);
    clock.go();
    await seen.waitFor([record.id]);
  });

  it('tells everybody of a crash as soon as one has seen it', async () => {
    const slow = { heartbeatIntervalMs: 30_000, ttlMs: 300_000 };
    const distant = see(registries.open(server.url, { timings: slow }));
    await distant.watch.ready;
    const record = newRecord();
    await redis.set(`mesh:service:orders:${record.id}`, toRecordJson(record), 'PX', 500);
    await redis.zadd('mesh:index:orders', Date.now() + 500, record.id);
    await redis.xadd('mesh:changes:orders', '*', 'ids', record.id);
    distant.watch.refresh();
    await distant.waitFor([record.id]);
    const near = see(registries.open(server.url));
    await near.waitFor([record.id]);
    await near.waitFor([], 500 + ONE_BEAT_MS);
    await distant.waitFor([], 500);
    expect(await redis.zcard('mesh:index:orders')).toBe(0);
  });

  it('ignores entries of the log that hold no ids, or nonsense', async () => {
    const registry = registries.open(server.url);
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registry);
    await seen.waitFor([record.id]);
    await redis.xadd('mesh:changes:orders', '*', 'later', 'x');
    await redis.xadd('mesh:changes:orders', '*', 'ids', '../../etc nonsense');
    await pause(3 * FAST.heartbeatIntervalMs);
    expect(seen.history).toEqual([[record.id]]);
    expect(registry.status.state).toBe('connected');
  });

  it('reads everything at every look where streams are not permitted, with a warning', async () => {
    await redis.call('ACL', 'SETUSER', 'nolog', 'on', '>pw', '~mesh:*', '&*', '+@all', '-@stream');
    const url = server.url.replace('redis://', 'redis://nolog:pw@');
    const seen = see(registries.open(url));
    await seen.watch.ready;
    const record = newRecord();
    const announcement = await registries.open(url).announce(record);
    await seen.waitFor([record.id]);
    await announcement.withdraw();
    await seen.waitFor([]);
    expect(registries.logger.warnings.filter((text) => text.includes('mesh:changes:orders'))).toHaveLength(2);
  });
});

interface Counters {
  readonly calls: Readonly<Record<string, number>>;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** How often Redis read from a connection. */
  readonly reads: number;
  /** The length of the answer to INFO itself. */
  readonly infoBytes: number;
}

async function counters(): Promise<Counters> {
  const info = await redis.info('everything');
  const calls = [...info.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].map(([, name, count]) => [
    name,
    Number(count),
  ]);
  const one = (name: string): number => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1]);
  return {
    calls: Object.fromEntries(calls) as Record<string, number>,
    bytesIn: one('total_net_input_bytes'),
    bytesOut: one('total_net_output_bytes'),
    reads: one('total_reads_processed'),
    infoBytes: Buffer.byteLength(info),
  };
}

/** The real clock, whose timers can be held up as those of a process that stands still. */
class StoppableClock implements RegistryClock {
  private held: (() => void)[] | undefined;
  readonly now = Date.now;
  readonly random = Math.random;

  setTimer(delayMs: number, task: () => void): () => void {
    let isCancelled = false;
    const run = (): void => {
      if (!isCancelled) task();
    };
    const timer = setTimeout(() => (this.held === undefined ? run() : void this.held.push(run)), delayMs);
    return () => {
      isCancelled = true;
      clearTimeout(timer);
    };
  }

  stop(): void {
    this.held = [];
  }

  go(): void {
    const tasks = this.held ?? [];
    this.held = undefined;
    for (const task of tasks) task();
  }
}
