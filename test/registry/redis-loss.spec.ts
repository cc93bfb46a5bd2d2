/** Redis away: before the start, during the run, emptied, frozen, and back. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { toRecordJson } from '../../lib/registry/node-record.js';
import { SYSTEM_CLOCK, type RegistryClock } from '../../lib/registry/registry-clock.js';
import type { RegistryTimings, ServiceRegistry } from '../../lib/registry/registry.js';
import { freePort, RedisServer, type RedisServerOptions } from '../support/redis-server.js';
import { eventually, FAST, newRecord, ONE_BEAT_MS, pause, Registries, see } from './registry-fixture.js';

const registries = new Registries();
const { logger } = registries;
const cleanUps: (() => unknown)[] = [];
const unhandled: unknown[] = [];
const noteUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeEach(() => {
  process.on('unhandledRejection', noteUnhandled);
});
afterEach(async () => {
  await registries.closeAll();
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  logger.warnings.length = 0;
  logger.logs.length = 0;
  process.off('unhandledRejection', noteUnhandled);
  expect(unhandled.splice(0)).toEqual([]);
});

async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  cleanUps.push(() => server.stop());
  return server;
}

/** A client of the test, beside the registries. */
function client(url: string): Redis {
  const redis = new Redis(url, { retryStrategy: () => 20 });
  redis.on('error', () => undefined);
  cleanUps.push(() => redis.disconnect());
  return redis;
}

/** Takes connections and never says a word; gives its URL. */
async function startSilentServer(): Promise<string> {
  const silent = createServer((socket) => socket.on('error', () => undefined).resume());
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  cleanUps.push(() => new Promise((resolve) => silent.close(resolve)));
  return `redis://127.0.0.1:${(silent.address() as AddressInfo).port}`;
}

async function faultOf(work: Promise<unknown>): Promise<MeshError> {
  const error: unknown = await work.then(
    () => new Error('it worked'),
    (reason: unknown) => reason,
  );
  if (MeshError.is(error)) return error;
  throw error;
}

function isStale({ status }: ServiceRegistry): boolean {
  return status.state === 'stale';
}

describe('without Redis at the start', () => {
  it('connect and announce fail at once, saying what is wrong and what mends it', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const registry = registries.open(url, { timings: { registryTimeoutMs: 5_000 } });
    const startedAt = Date.now();
    for (const fault of [await faultOf(registry.connect()), await faultOf(registry.announce(newRecord()))]) {
      expect(fault.code).toBe('UNAVAILABLE');
      expect(fault.delivery).toBe('not-sent');
      expect(fault.rawMessage).toMatch(`cannot reach the registry ${url}: connect ECONNREFUSED`);
      expect(fault.rawMessage).toContain(
        'start Redis, or set the `registry` option (`file:DIR` needs no server)',
      );
    }
    expect(Date.now() - startedAt).toBeLessThan(1_000);
  });

  it('a failed connect leaves nothing running, and the next one is a new attempt', async () => {
    let timers = 0;
    const counting: RegistryClock = {
      ...SYSTEM_CLOCK,
      setTimer: (delayMs, task) => {
        timers += 1;
        let open = true;
        const end = (): void => {
          if (open) timers -= 1;
          open = false;
        };
        const cancel = SYSTEM_CLOCK.setTimer(delayMs, () => (end(), task()));
        return () => (end(), cancel());
      },
    };
    const port = await freePort();
    const registry = registries.open(`redis://127.0.0.1:${port}`, { clock: counting });
    await faultOf(registry.connect());
    expect(timers).toBe(0);
    await startRedis({ port });
    await registry.connect();
    expect(registry.status.state).toBe('connected');
    await registry.close();
    expect(timers).toBe(0);
  });

  it('connect gives up after registryTimeoutMs on a server that accepts and never answers', async () => {
    const registry = registries.open(await startSilentServer());
    const startedAt = Date.now();
    const fault = await faultOf(registry.connect());
    expect(fault.rawMessage).toContain('no answer within 1000 ms (registryTimeoutMs)');
    expect(Date.now() - startedAt).toBeLessThan(2_500);
  });

  it('close ends a connect that is under way', async () => {
    const url = await startSilentServer();
    const registry = registries.open(url, { timings: { registryTimeoutMs: 60_000 } });
    const fault = faultOf(registry.connect());
    await pause(20);
    await registry.close();
    expect((await fault).code).toBe('FAILED_PRECONDITION');
  });

  it('a watch waits, with one warning, and finds the nodes once Redis is there', async () => {
    const port = await freePort();
    const watcher = registries.open(`redis://127.0.0.1:${port}`);
    const seen = see(watcher);
    await eventually(() => expect(isStale(watcher)).toBe(true));
    await pause(5 * FAST.heartbeatIntervalMs);
    expect(seen.history).toEqual([]);
    expect(logger.warnings).toEqual([expect.stringMatching(/is away .*ECONNREFUSED/)]);
    const server = await startRedis({ port });
    const record = newRecord();
    await registries.open(server.url).announce(record);
    await seen.waitFor([record.id]);
    expect(logger.logs).toEqual([
      expect.stringMatching(`the registry redis://127.0.0.1:${port} is back; it was stale for \\d+ s`),
    ]);
  });
});

describe('a refused password', () => {
  it.each([
    ['wrong', ':wrong-secret@'],
    ['of an unknown user', 'nobody:wrong-secret@'],
    ['missing', ''],
  ])('that is %s is UNAUTHENTICATED at once, and is never shown', async (_name, credentials) => {
    const server = await startRedis({ password: 'right-secret' });
    const registry = registries.open(`redis://${credentials}127.0.0.1:${server.port}`);
    const fault = await faultOf(registry.announce(newRecord()));
    expect(fault.code).toBe('UNAUTHENTICATED');
    expect(fault.rawMessage).toContain(`the registry redis://127.0.0.1:${server.port} refused`);
    expect(inspect(fault, { depth: 10 }) + JSON.stringify(logger)).not.toContain('secret');
  });

  it('is not what happens with the right one', async () => {
    const server = await startRedis({ password: 'right/secret:@' });
    const record = newRecord();
    await registries.open(server.url).announce(record);
    await see(
      registries.open('redis://', { redis: { port: server.port, password: 'right/secret:@' } }),
    ).waitFor([record.id]);
  });

  it('nor is a database that does not exist taken for database 0', async () => {
    const server = await startRedis();
    const fault = await faultOf(registries.open(`${server.url}/99`).announce(newRecord()));
    expect(fault.rawMessage).toContain('DB index is out of range');
    expect(await client(server.url).keys('*')).toEqual([]);
  });
});

describe('Redis lost during the run', () => {
  it('keeps what is known, says so once, and heals within a heartbeat when an empty Redis is back', async () => {
    const server = await startRedis();
    const [a, b] = [registries.open(server.url), registries.open(server.url)];
    const [first, second] = [newRecord({ metadata: { zone: 'a' } }), newRecord()];
    await a.announce(first);
    await a.announce(second);
    const seen = see(b);
    await seen.waitFor([first.id, second.id]);
    const told = seen.history.length;

    const lostAt = Date.now();
    await server.kill();
    await eventually(() => expect([a, b].every(isStale)).toBe(true));
    expect(b.status).toMatchObject({ state: 'stale', reason: expect.stringMatching(/./) });
    const since = b.status.state === 'stale' ? b.status.since : 0;
    expect(Math.abs(lostAt - since)).toBeLessThan(2 * FAST.heartbeatIntervalMs);
    // Two leases long.
    await pause(2 * FAST.ttlMs);

    await server.run();
    const redis = client(server.url);
    await eventually(async () => {
      expect(await redis.get(`mesh:service:orders:${first.id}`)).toBe(toRecordJson(first));
    }, ONE_BEAT_MS);
    await eventually(() => expect([a, b].map(isStale)).toEqual([false, false]));
    await pause(2 * FAST.ttlMs);
    expect(seen.history).toHaveLength(told);
    expect(logger.warnings).toHaveLength(2);
    expect(logger.warnings.join()).toContain(`the registry ${server.url} is away`);
    const back = expect.stringMatching(`the registry ${server.url} is back; it was stale for 2 s`);
    expect(logger.logs).toEqual([back, back]);
  });

  it('finds new nodes again, and drops after one TTL those that did not come back', async () => {
    const server = await startRedis();
    const [lasting, dying, watcher] = [1, 2, 3].map(() => registries.open(server.url)) as [
      ServiceRegistry,
      ServiceRegistry,
      ServiceRegistry,
    ];
    const [stays, dies, joins] = [newRecord(), newRecord(), newRecord()];
    await lasting.announce(stays);
    await dying.announce(dies);
    const seen = see(watcher);
    await seen.waitFor([stays.id, dies.id]);
    await server.kill();
    await eventually(() => expect(isStale(dying)).toBe(true));
    await dying.close();
    await server.run();
    await lasting.connect();
    await lasting.announce(joins);
    await seen.waitFor([stays.id, dies.id, joins.id]);
    await seen.waitFor([stays.id, joins.id], 2 * FAST.ttlMs);
  });

  it('announces fail fast meanwhile, and withdrawing and closing do not hang or reject', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    const announcement = await registry.announce(newRecord());
    see(registry);
    await server.kill();
    await eventually(() => expect(isStale(registry)).toBe(true));
    expect((await faultOf(registry.announce(newRecord()))).code).toBe('UNAVAILABLE');
    await announcement.withdraw();
    expect(logger.warnings.join()).toContain('could not be withdrawn');
    const startedAt = Date.now();
    await registry.close();
    expect(Date.now() - startedAt).toBeLessThan(500);
  });

  it('metadata that change meanwhile are announced when it is back', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    const record = newRecord();
    const announcement = await registry.announce(record);
    const seen = see(registries.open(server.url));
    await seen.waitFor([record.id]);
    await server.kill();
    await eventually(() => expect(isStale(registry)).toBe(true));
    await announcement.update({ zone: 'b' });
    await server.run();
    await eventually(() => expect(seen.nodes()).toEqual([{ ...record, metadata: { zone: 'b' } }]));
  });

  it('heals however often Redis comes and goes', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registries.open(server.url));
    await seen.waitFor([record.id]);
    for (let round = 0; round < 6; round += 1) {
      await server.restart();
      await pause(round * 30);
    }
    const later = newRecord();
    await eventually(() => registry.connect());
    await eventually(async () => void (await registry.announce(later)));
    await seen.waitFor([record.id, later.id]);
    expect(seen.history.filter((ids) => !ids.includes(record.id))).toEqual([]);
  });

  it('notices a connection that stands and answers nothing, on both connections, and recovers', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url, { timings: { registryTimeoutMs: 300 } });
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registry);
    await seen.waitFor([record.id]);
    server.pause();
    await eventually(() => expect(isStale(registry)).toBe(true), 1_000);
    expect(logger.warnings.join()).toContain('no answer within 300 ms (registryTimeoutMs)');
    server.resume();
    await eventually(() => expect(registry.status.state).toBe('connected'));
    expect(seen.history).toEqual([[record.id]]);
  });

  it('notices that too when it has nothing to ask and nothing to write', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url, { timings: { registryTimeoutMs: 300 } });
    await registry.connect();
    server.pause();
    await eventually(() => expect(isStale(registry)).toBe(true), 2_000);
    server.resume();
    await eventually(() => expect(registry.status.state).toBe('connected'));
  });

  it('comes back when only the connection for events was cut', async () => {
    const server = await startRedis();
    const watcher = registries.open(server.url, { timings: { heartbeatIntervalMs: 2_000, ttlMs: 10_000 } });
    const seen = see(watcher);
    await seen.watch.ready;
    const redis = client(server.url);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually(() => expect(isStale(watcher)).toBe(true));
    await eventually(() => expect(watcher.status.state).toBe('connected'));
    const record = newRecord();
    await registries.open(server.url).announce(record);
    // At once, so through the events: the next look is 2 s away.
    await seen.waitFor([record.id], 500);
  });

  it('is told of a Redis that refuses writes, and recovers when it takes them again', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    await registry.announce(newRecord());
    const redis = client(server.url);
    await redis.call('CONFIG', 'SET', 'min-replicas-to-write', '1');
    await eventually(() => expect(isStale(registry)).toBe(true));
    expect(logger.warnings).toEqual([expect.stringContaining('NOREPLICAS')]);
    await redis.call('CONFIG', 'SET', 'min-replicas-to-write', '0');
    await eventually(() => expect(registry.status.state).toBe('connected'));
    expect(logger.logs).toHaveLength(1);
  });
});

describe('a flushed Redis', () => {
  it('makes nobody disappear who is alive, though everybody is missing', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    const [first, second] = [newRecord(), newRecord()];
    await registry.announce(first);
    await registry.announce(second);
    const seen = see(registries.open(server.url));
    await seen.waitFor([first.id, second.id]);
    const told = seen.history.length;
    const redis = client(server.url);
    for (let round = 0; round < 5; round += 1) {
      await redis.flushall();
      seen.watch.refresh();
      await pause(1.5 * FAST.heartbeatIntervalMs);
    }
    await pause(2 * FAST.ttlMs);
    expect(seen.history).toHaveLength(told);
  });

  it('still lets a node leave at once, before and after it wrote its record again', async () => {
    const server = await startRedis();
    // No heartbeat comes in the way: the records are missing until the test ends.
    const slow = { heartbeatIntervalMs: 60_000, ttlMs: 600_000 };
    const registry = registries.open(server.url, { timings: slow });
    const [leaver, other] = [newRecord(), newRecord()];
    const announcement = await registry.announce(leaver);
    await registry.announce(other);
    const seen = see(registries.open(server.url));
    await seen.waitFor([leaver.id, other.id]);
    await client(server.url).flushall();
    await pause(3 * FAST.heartbeatIntervalMs);
    expect(seen.nodes()).toHaveLength(2);
    await announcement.withdraw();
    await seen.waitFor([other.id], 500);
  });

  it('lets the last node of a service leave as ever: an empty index is not a flush', async () => {
    const server = await startRedis();
    const announcement = await registries.open(server.url).announce(newRecord());
    const redis = client(server.url);
    await redis.call('ACL', 'SETUSER', 'quiet', 'on', '>pw', '~mesh:*', '+@all', 'resetchannels');
    const deaf = see(registries.open(server.url.replace('redis://', 'redis://quiet:pw@')));
    await eventually(() => expect(deaf.nodes()).toHaveLength(1));
    await announcement.withdraw();
    await deaf.waitFor([], ONE_BEAT_MS);
  });
});

describe('a Redis that takes no records of most nodes', () => {
  /** The registry of a user who may do everything but write records. */
  async function mute(server: RedisServer, timings: Partial<RegistryTimings> = {}): Promise<ServiceRegistry> {
    const redis = client(server.url);
    await redis.call('ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', '&*', '+@all');
    return registries.open(server.url.replace('redis://', 'redis://mute:pw@'), { timings });
  }

  it('makes nobody disappear: those who are lost with most of their service are held, which is said once', async () => {
    const server = await startRedis();
    const writer = await mute(server);
    const records = [newRecord(), newRecord(), newRecord(), newRecord()];
    const standing = await Promise.all(records.map((record) => writer.announce(record)));
    const seen = see(registries.open(server.url));
    const ids = records.map(({ id }) => id);
    await seen.waitFor(ids);
    const redis = client(server.url);
    await redis.call('ACL', 'SETUSER', 'mute', '-set', '-zadd');
    await eventually(() => expect(isStale(writer)).toBe(true));
    await eventually(async () => expect(await redis.keys('mesh:service:*')).toEqual([]));
    await pause(2 * FAST.ttlMs);
    expect(seen.nodes().map(({ id }) => id)).toEqual(ids.toSorted());
    const held = logger.warnings.filter((text) => text.includes('are gone from the registry at once'));
    expect(held).toEqual([expect.stringMatching(/^\d nodes of orders .* go on being used for 6 s/)]);

    // Nobody is held who has come back, or who leaves.
    await redis.call('ACL', 'SETUSER', 'mute', '+set', '+zadd');
    await eventually(async () => expect(await redis.keys('mesh:service:*')).toHaveLength(4), ONE_BEAT_MS);
    await eventually(() => expect(writer.status.state).toBe('connected'));
    for (const announcement of standing.slice(0, 3)) await announcement.withdraw();
    await seen.waitFor([ids[3] ?? '']);
  });

  it('lets them go when the time is over and they did not come back', async () => {
    const server = await startRedis();
    const timings = { heartbeatIntervalMs: 50, ttlMs: 250 };
    const writer = await mute(server, timings);
    const [first, second] = [newRecord(), newRecord()];
    await writer.announce(first);
    await writer.announce(second);
    const seen = see(registries.open(server.url, { timings }));
    await seen.waitFor([first.id, second.id]);
    await client(server.url).call('ACL', 'SETUSER', 'mute', '-set', '-zadd');
    // One lease, and six in which they are held.
    await seen.waitFor([], 10_000);
    expect(logger.warnings.join()).toContain('2 nodes of orders are gone from the registry at once');
  });

  it('does not hold those who all leave at once', async () => {
    const server = await startRedis();
    const registry = registries.open(server.url);
    await Promise.all([1, 2, 3].map(() => registry.announce(newRecord())));
    const seen = see(registries.open(server.url));
    await eventually(() => expect(seen.nodes()).toHaveLength(3));
    await registry.close();
    await seen.waitFor([], ONE_BEAT_MS);
    expect(logger.warnings).toEqual([]);
  });
});
