/** Which registry a URL opens, and what is said of those that cannot be opened. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { openRegistry, type OpenRegistryOptions } from '../../lib/registry/registry-url.js';
import { Registries } from './registry-fixture.js';

const registries = new Registries();
afterEach(() => registries.closeAll());

function faultOf(url: string, options?: OpenRegistryOptions): MeshError {
  try {
    openRegistry(url, options);
  } catch (error) {
    if (MeshError.is(error)) return error;
    throw error;
  }
  throw new Error(`${url} was accepted`);
}

describe('openRegistry', () => {
  it.each([
    ['redis://localhost:6379', 'redis://localhost:6379'],
    ['redis://', 'redis://localhost:6379'],
    ['redis://cache', 'redis://cache:6379'],
    ['redis://:secret@cache:6380/2', 'redis://cache:6380/2'],
    ['redis://user:secret@cache', 'redis://cache:6379'],
    ['rediss://cache', 'rediss://cache:6379'],
    ['redis://[::1]:6380', 'redis://[::1]:6380'],
    ['file:rel/dir', 'file:rel/dir'],
    ['file:/abs/dir', 'file:/abs/dir'],
    ['file:///abs/dir', 'file:/abs/dir'],
    ['file:/a%20b/100%', 'file:/a%20b/100%'],
    ['memory:test', 'memory:test'],
  ])('takes %s and shows it as %s', (url, shown) => {
    expect(registries.open(url).url).toBe(shown);
  });

  it('uses the Redis of this machine when no URL is given', async () => {
    const registry = openRegistry();
    expect(registry.url).toBe('redis://localhost:6379');
    expect(registry.status).toEqual({ state: 'idle' });
    await registry.close();
  });

  it.each(['', 'orders', 'localhost:6379', 'http://x', 'etcd://x', 'memory:', 'file:', '/tmp/x'])(
    'refuses %j, naming it and what is accepted',
    (url) => {
      const { code, rawMessage } = faultOf(url);
      expect(code).toBe('INVALID_ARGUMENT');
      expect(rawMessage).toContain(JSON.stringify(url));
      expect(rawMessage).toContain('redis://HOST:PORT, rediss://HOST:PORT, file:DIR or memory:NAME');
    },
  );

  it.each([
    'redis://user:secret@host:99999',
    'redis://user:secret@host/db',
    'redis://user:secret@host?family=6',
    'redis://user:sec%ret@host',
    'http://user:secret@host',
    'redis://us/er:secret@host:x',
  ])('refuses %s without telling the password', (url) => {
    const { code, rawMessage, cause } = faultOf(url);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(rawMessage).not.toMatch(/sec(%)?ret/);
    expect(cause).toBeUndefined();
  });

  it.each<[string, OpenRegistryOptions, RegExp]>([
    ['a key prefix', { redis: { keyPrefix: 'app:' } }, /keyPrefix.*"app:".*fixed by the protocol/],
    ['no Sentinel', { redis: { sentinels: [], name: 'x' } }, /sentinels/],
    ['no master name', { redis: { sentinels: [{ host: 'a' }] } }, /`redis.name`/],
    ['no cluster node', { redis: { cluster: [] } }, /`redis.cluster`/],
    ['an interval of 0', { timings: { heartbeatIntervalMs: 0 } }, /`heartbeatIntervalMs`.*not 0/],
    ['a TTL that is no number', { timings: { ttlMs: Number.NaN } }, /`ttlMs`.*not NaN/],
    [
      'a TTL below two heartbeats',
      { timings: { heartbeatIntervalMs: 2_000, ttlMs: 3_000 } },
      /at least twice/,
    ],
  ])('refuses %s, naming the option', (_name, options, reason) => {
    const { code, rawMessage } = faultOf('redis://localhost', options);
    expect(code).toBe('INVALID_ARGUMENT');
    expect(rawMessage).toMatch(reason);
  });

  it('shows a Sentinel master and a Cluster by their addresses', () => {
    const sentinel = { sentinels: [{ host: 'a', port: 1 }, { host: 'b' }], name: 'main', password: 'secret' };
    expect(registries.open('redis://localhost', { redis: sentinel }).url).toBe(
      'redis+sentinel://a:1,b:26379/main',
    );
    const cluster = { cluster: [{ host: 'a', port: 1 }, 'redis://:secret@b:2'] };
    expect(registries.open('redis://localhost', { redis: cluster }).url).toBe('redis+cluster://a:1,b:2');
  });
});
