/** The same registry over TLS, behind Sentinel and in a Cluster: real servers, a round trip and a loss each. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { toRecordJson } from '../../lib/registry/node-record.js';
import type { RedisSettings } from '../../lib/registry/redis/redis-target.js';
import { freePort, redisBinary, RedisServer, type RedisServerOptions } from '../support/redis-server.js';
import { eventually, FAST, newRecord, ONE_BEAT_MS, pause, Registries, see } from './registry-fixture.js';

const registries = new Registries();
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  await registries.closeAll();
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

async function startRedis(options: RedisServerOptions): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  cleanUps.push(() => server.stop());
  return server;
}

function client(port: number, password?: string): Redis {
  const redis = new Redis({ port, host: '127.0.0.1', ...(password === undefined ? {} : { password }) });
  redis.on('error', () => undefined);
  cleanUps.push(() => redis.disconnect());
  return redis;
}

/** A node comes, keeps living, and goes, seen by another registry and by the events. */
async function roundTrip(url: string, redis: RedisSettings): Promise<void> {
  const [a, b] = [registries.open(url, { redis }), registries.open(url, { redis })];
  const seen = see(b);
  await seen.watch.ready;
  const record = newRecord({ metadata: { zone: 'a' } });
  const announcement = await a.announce(record);
  await seen.waitFor([record.id], ONE_BEAT_MS);
  await pause(2 * FAST.ttlMs);
  await announcement.withdraw();
  await seen.waitFor([], ONE_BEAT_MS);
  expect(seen.history).toEqual([[], [record.id], []]);
}

/** What this build of Redis, and this machine, offer for TLS; else the reason why not. */
function tlsFiles(): { dir: string } | { missing: string } {
  const dir = mkdtempSync(join(tmpdir(), 'mesh-tls-'));
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  try {
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        'key.pem',
        '-out',
        'cert.pem',
        ...subject,
      ],
      { cwd: dir, stdio: 'ignore' },
    );
  } catch {
    rmSync(dir, { recursive: true });
    return { missing: 'there is no openssl program to make a certificate with' };
  }
  try {
    execFileSync(redisBinary(), ['--port', '0', '--tls-port', '0', '--dir', dir], { stdio: 'pipe' });
  } catch (error) {
    // Without a port it exits; a build without TLS does not even know the option.
    const output =
      String((error as { stdout?: unknown; stderr?: unknown }).stdout) +
      String((error as { stderr?: unknown }).stderr);
    if (/Bad directive|wrong number of arguments|FATAL CONFIG/i.test(output)) {
      rmSync(dir, { recursive: true });
      return { missing: 'this redis-server was built without TLS' };
    }
  }
  return { dir };
}

describe('over TLS', () => {
  it('works with rediss://, and refuses a server whose certificate it does not trust', async () => {
    const files = tlsFiles();
    if ('missing' in files) {
      console.warn(`not tested: rediss://, since ${files.missing}`);
      return;
    }
    const { dir } = files;
    cleanUps.push(() => rmSync(dir, { recursive: true }));
    const port = await freePort();
    const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    const tls = [
      '--tls-port',
      `${port}`,
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert,
    ];
    await startRedis({
      port,
      config: () => `port 0\nbind 127.0.0.1\nsave ""\n`,
      args: [...tls, '--tls-auth-clients', 'no', '--dir', dir],
    });
    await roundTrip(`rediss://localhost:${port}`, { tls: { ca: readFileSync(cert) } });
    await expect(registries.open(`rediss://localhost:${port}`).connect()).rejects.toThrow(
      /cannot reach the registry rediss:\/\/localhost.*self.signed certificate/,
    );
  });
});

describe('behind Sentinel', () => {
  const startSentinel = async (master: RedisServer, password?: string): Promise<RedisServer> =>
    startRedis({
      config: (port) =>
        [
          `port ${port}`,
          'bind 127.0.0.1',
          `sentinel monitor main 127.0.0.1 ${master.port} 1`,
          'sentinel down-after-milliseconds main 300',
          'sentinel failover-timeout main 2000',
          ...(password === undefined ? [] : [`sentinel auth-pass main ${password}`]),
          '',
        ].join('\n'),
      args: ['--sentinel'],
    });

  it('works with the master that Sentinel names', async () => {
    const master = await startRedis({ password: 'pw' });
    const sentinel = await startSentinel(master, 'pw');
    const sentinels = [{ host: '127.0.0.1', port: sentinel.port }];
    await roundTrip('redis://', { sentinels, name: 'main', password: 'pw' });
    const url = `redis+sentinel://127.0.0.1:${sentinel.port}/main`;
    expect(registries.open('redis://', { redis: { sentinels, name: 'main' } }).url).toBe(url);
  });

  it('fails at once, naming the Sentinels, when none of them answers', async () => {
    const port = await freePort();
    const registry = registries.open('redis://', {
      redis: { sentinels: [{ host: '127.0.0.1', port }], name: 'main' },
    });
    await expect(registry.connect()).rejects.toThrow(
      new RegExp(
        `cannot reach the registry redis\\+sentinel://127.0.0.1:${port}/main: All sentinels are unreachable`,
      ),
    );
  });

  it('follows a failover to the new master, and nobody disappears', async () => {
    const master = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
    const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] });
    const onReplica = client(replica.port);
    await eventually(async () => {
      expect(await onReplica.info('replication')).toContain('master_link_status:up');
    }, 15_000);
    const sentinel = await startSentinel(master);
    // Sentinel learns of the replica from the master's INFO, which it asks for every ten seconds at the latest.
    const onSentinel = client(sentinel.port);
    await eventually(async () => {
      const replicas = await onSentinel.call('SENTINEL', 'replicas', 'main');
      expect(JSON.stringify(replicas)).toContain(`${replica.port}`);
    }, 12_000);
    const redis = { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'main' };
    const [a, b] = [registries.open('redis://', { redis }), registries.open('redis://', { redis })];
    const record = newRecord();
    await a.announce(record);
    const seen = see(b);
    await seen.waitFor([record.id]);
    await master.kill();
    await eventually(async () => {
      expect(await onReplica.get(`mesh:service:orders:${record.id}`)).toBe(toRecordJson(record));
      expect(a.status.state).toBe('connected');
    }, 15_000);
    const joining = newRecord();
    await a.announce(joining);
    await seen.waitFor([record.id, joining.id]);
    expect(await onReplica.get(`mesh:service:orders:${joining.id}`)).toBe(toRecordJson(joining));
    expect(await onReplica.info('replication')).toContain('role:master');
    expect(seen.history.filter((ids) => !ids.includes(record.id))).toEqual([]);
  });
});

describe('in a Cluster', () => {
  /** Masters that share the slots. */
  const startCluster = async (size: number, password?: string): Promise<RedisServer[]> => {
    const servers: RedisServer[] = [];
    for (let count = 0; count < size; count += 1) {
      // The port of the cluster bus is 10,000 above, and must be one too.
      let port = await freePort();
      while (port > 50_000) port = await freePort();
      const args = [
        '--cluster-enabled',
        'yes',
        '--cluster-node-timeout',
        '2000',
        '--cluster-require-full-coverage',
        'no',
      ];
      if (password !== undefined) args.push('--masterauth', password);
      servers.push(await startRedis({ port, args, ...(password === undefined ? {} : { password }) }));
    }
    const share = Math.ceil(16_384 / size);
    for (const [position, server] of servers.entries()) {
      const redis = client(server.port, password);
      const last = Math.min(16_383, (position + 1) * share - 1);
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', `${position * share}`, `${last}`);
      await redis.call('CLUSTER', 'MEET', '127.0.0.1', `${servers[0]!.port}`);
    }
    for (const server of servers) {
      const redis = client(server.port, password);
      await eventually(async () => {
        const info = await redis.call('CLUSTER', 'INFO');
        expect(info).toContain('cluster_state:ok');
        expect(info).toContain(`cluster_known_nodes:${size}`);
        expect(info).toContain('cluster_slots_assigned:16384');
      }, 15_000);
    }
    return servers;
  };
  const nodesOf = (servers: RedisServer[]) => servers.map(({ port }) => ({ host: '127.0.0.1', port }));

  it('works though every key is in a slot of its own, and finds plain peers on every master', async () => {
    const servers = await startCluster(3, 'pw');
    const cluster = { cluster: nodesOf(servers), options: { redisOptions: { password: 'pw' } } };
    await roundTrip('redis://', cluster);
    const plain = Array.from({ length: 12 }, () => newRecord({ service: 'plain' }));
    // -c of redis-cli, by hand: each record goes to the master of its slot.
    for (const record of plain) {
      const key = `mesh:service:plain:${record.id}`;
      for (const { port } of servers) {
        await client(port, 'pw')
          .set(key, toRecordJson(record))
          .catch(() => undefined);
      }
    }
    await see(registries.open('redis://', { redis: cluster }), 'plain').waitFor(plain.map(({ id }) => id));
  });

  it('of one node works, and takes the password from the URL', async () => {
    const servers = await startCluster(1, 'pw');
    await roundTrip('redis://:pw@localhost', { cluster: nodesOf(servers) });
    const refused = registries.open('redis://:wrong-secret@localhost', {
      redis: { cluster: nodesOf(servers) },
    });
    await expect(refused.connect()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('keeps what is known while it is down, and heals when it is back', async () => {
    const servers = await startCluster(1);
    const redis = { cluster: nodesOf(servers) };
    const registry = registries.open('redis://', { redis });
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registry);
    await seen.waitFor([record.id]);
    await servers[0]!.kill();
    await eventually(() => expect(registry.status.state).toBe('stale'), 5_000);
    await expect(registries.open('redis://', { redis }).connect()).rejects.toThrow(
      /cannot reach the registry redis\+cluster:.*no connection could be made/,
    );
    await servers[0]!.run();
    const redisBack = client(servers[0]!.port);
    await eventually(async () => {
      expect(registry.status.state).toBe('connected');
      expect(await redisBack.get(`mesh:service:orders:${record.id}`)).toBe(toRecordJson(record));
    }, 10_000);
    expect(seen.history).toEqual([[record.id]]);
  });
});
