/** Which services take events: what every registry tells of it, and what stands in Redis for it. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { Redis } from 'ioredis';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { announcedOf, takesEvents, withAnnounced } from '../../lib/registry/announced.js';
import type { ServiceRegistry, Watch } from '../../lib/registry/registry.js';
import { RedisServer } from '../support/redis-server.js';
import { eventually, FAST, newRecord, ONE_BEAT_MS, pause, Registries } from './registry-fixture.js';

let server: RedisServer;
let redis: Redis;
let directory: string;
beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.url);
  directory = await mkdtemp(join(tmpdir(), 'mesh-subscribers-'));
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
  await rm(directory, { recursive: true });
});

const registries = new Registries();
afterEach(() => registries.closeAll());

/** A heartbeat interval that no test lives to see: what happens then happens through events and notices. */
const HOUR = { heartbeatIntervalMs: 3_600_000, ttlMs: 36_000_000 };

function taking(service: string, ...events: string[]): ReturnType<typeof newRecord> {
  return newRecord({ service, metadata: { mesh: { events } } });
}

interface Subscribers {
  readonly watch: Watch;
  readonly history: (readonly string[])[];
  readonly includes: (service: string) => boolean;
}

function watching(registry: ServiceRegistry): Subscribers {
  const history: (readonly string[])[] = [];
  const watch = registry.watchSubscribers?.((services) => history.push(services));
  if (watch === undefined) throw new Error('this registry cannot say which services take events');
  return { watch, history, includes: (service) => history.at(-1)?.includes(service) === true };
}

const kinds: [string, () => string][] = [
  ['redis', () => server.url],
  ['file', () => `file:${join(directory, randomUUID())}`],
  ['memory', () => `memory:${randomUUID()}`],
];

describe.each(kinds)('the services that take events, in a %s registry,', (kind, newUrl) => {
  function setUp() {
    const url = newUrl();
    return { url, a: registries.open(url), b: registries.open(url), service: `s-${randomUUID()}` };
  }

  it('are those of which a node announces patterns', async () => {
    const { a, b, service } = setUp();
    const seen = watching(b);
    await seen.watch.ready;
    await a.announce(taking(service, 'user.*'));
    await eventually(() => expect(seen.includes(service)).toBe(true));
  });

  it('are in the first answer when they were announced before', async () => {
    const { a, b, service } = setUp();
    await a.announce(taking(service, 'user.*'));
    const seen = watching(b);
    await seen.watch.ready;
    expect(seen.includes(service)).toBe(true);
    expect(seen.history).toHaveLength(1);
  });

  it('are seen without waiting for the next look when their first node joins', async () => {
    const { url, service } = setUp();
    const seen = watching(registries.open(url, { timings: HOUR }));
    await seen.watch.ready;
    await registries.open(url, { timings: HOUR }).announce(taking(service, 'user.created'));
    await eventually(() => expect(seen.includes(service)).toBe(true), 1_000);
  });

  it('stay for as long as they are announced, and nobody is told of heartbeats', async () => {
    const { a, b, service } = setUp();
    await a.announce(taking(service, 'user.*'));
    const seen = watching(b);
    await seen.watch.ready;
    await pause(3 * FAST.ttlMs);
    expect(seen.includes(service)).toBe(true);
    expect(seen.history).toHaveLength(1);
  });

  it('are told to each watch, until it is closed', async () => {
    const { a, b, service } = setUp();
    const [first, second] = [watching(b), watching(b)];
    await Promise.all([first.watch.ready, second.watch.ready]);
    first.watch.close();
    await a.announce(taking(service, 'user.*'));
    await eventually(() => expect(second.includes(service)).toBe(true));
    expect(first.includes(service)).toBe(false);
    second.watch.close();
    const third = watching(b);
    await eventually(() => expect(third.includes(service)).toBe(true));
  });

  it('cannot be watched any more when the registry was closed', async () => {
    const { a } = setUp();
    const seen = watching(a);
    await a.close();
    await seen.watch.ready;
    expect(() => watching(a)).toThrow('was closed');
  });

  if (kind === 'file') return;

  it('are not services whose nodes announce none', async () => {
    const { a, b, service } = setUp();
    await a.announce(newRecord({ service, metadata: { mesh: { idempotent: ['get'] } } }));
    const seen = watching(b);
    await seen.watch.ready;
    await pause(2 * FAST.heartbeatIntervalMs);
    expect(seen.includes(service)).toBe(false);
  });
});

describe('mesh:subscribers in Redis', () => {
  it('holds the service with its expiry, once for all its nodes', async () => {
    const service = `s-${randomUUID()}`;
    const registry = registries.open(server.url);
    await Promise.all([registry.announce(taking(service, 'a')), registry.announce(taking(service, 'b'))]);
    expect((await redis.zrange('mesh:subscribers', '0', '-1')).filter((one) => one === service)).toHaveLength(
      1,
    );
    const score = Number(await redis.zscore('mesh:subscribers', service));
    expect(Math.abs(score - (Date.now() + FAST.ttlMs))).toBeLessThan(FAST.ttlMs);
  });

  it('is written again by a heartbeat after Redis was flushed, and readers keep what they knew of nodes', async () => {
    const service = `s-${randomUUID()}`;
    await registries.open(server.url).announce(taking(service, 'a'));
    await redis.del('mesh:subscribers');
    await eventually(async () => {
      expect(await redis.zscore('mesh:subscribers', service)).not.toBeNull();
    }, ONE_BEAT_MS);
  });

  it('costs a node one command a heartbeat when it takes events, and none when it takes none', async () => {
    const commandsOf = async (record: ReturnType<typeof newRecord>): Promise<number> => {
      const registry = registries.open(server.url, { timings: HOUR });
      const announcement = await registry.announce(record);
      const before = await zaddCount();
      for (let write = 0; write < 5; write += 1) await announcement.update(record.metadata);
      const after = await zaddCount();
      await registry.close();
      return after - before;
    };
    const plain = await commandsOf(newRecord());
    expect(plain).toBe(5);
    const patterns = Array.from({ length: 200 }, (_, at) => `event.${at}`);
    expect(await commandsOf(taking('orders', ...patterns))).toBe(2 * plain);
  });

  it('costs a publisher one command a look, whatever the number of services and nodes', async () => {
    const commandsOfFiveLooks = async (): Promise<number> => {
      const registry = registries.open(server.url, { timings: HOUR });
      const { watch } = watching(registry);
      await watch.ready;
      await pause(100);
      const before = await rangeCount();
      for (let look = 0; look < 5; look += 1) {
        watch.refresh();
        await pause(60);
      }
      const after = await rangeCount();
      await registry.close();
      return after - before;
    };
    const before = await commandsOfFiveLooks();
    expect(before).toBe(5);
    for (let count = 0; count < 200; count += 1)
      await redis.zadd('mesh:subscribers', Date.now() + 60_000, `many-${count}`);
    expect(await commandsOfFiveLooks()).toBe(before);
  });

  it('is rid of services that are gone, and members that are no services are ignored', async () => {
    await redis.zadd('mesh:subscribers', Date.now() - 3_600_000, 'gone', Date.now() + 60_000, 'no service*');
    const registry = registries.open(server.url);
    const seen = watching(registry);
    await seen.watch.ready;
    expect(seen.includes('gone')).toBe(false);
    expect(seen.includes('no service*')).toBe(false);
    expect(registries.logger.warnings.join()).toContain('ignoring a member of mesh:subscribers');
    await registry.announce(taking('orders', 'a'));
    expect(await redis.zscore('mesh:subscribers', 'gone')).toBeNull();
  });

  async function callsOf(command: string): Promise<number> {
    const stats = await redis.info('commandstats');
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  }
  const zaddCount = (): Promise<number> => callsOf('zadd');
  const rangeCount = (): Promise<number> => callsOf('zrangebyscore');
});

describe('what a record says of the handlers of its node', () => {
  it('is left out where there is nothing to say', () => {
    const nothing = announcedOf(undefined);
    expect(withAnnounced({ zone: 'a' }, nothing)).toEqual({ zone: 'a' });
    expect(withAnnounced({}, { ...nothing, events: ['a'] })).toEqual({ mesh: { events: ['a'] } });
    expect(withAnnounced({}, { ...nothing, idempotent: ['b'] })).toEqual({ mesh: { idempotent: ['b'] } });
    expect(withAnnounced({}, { ...nothing, weight: 2, zone: 'a' })).toEqual({
      mesh: { weight: 2, zone: 'a' },
    });
  });

  it.each([
    {},
    { mesh: null },
    { mesh: 'x' },
    { mesh: [] },
    { mesh: { events: 'user.*' } },
    { mesh: { events: [1] } },
    { mesh: { weight: 0 } },
    { mesh: { weight: -1 } },
    { mesh: { weight: '2' } },
    { mesh: { weight: 1e9 } },
    { mesh: { zone: 7 } },
  ])('is nothing where others have written %j', (metadata) => {
    expect(announcedOf({ metadata })).toEqual(announcedOf(undefined));
    expect(takesEvents(metadata)).toBe(false);
  });
});
