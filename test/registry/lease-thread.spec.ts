/** Event loops that are blocked, with and without `leaseThread`: real processes, a real Redis. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { MeshClientProxy, type MeshOptions } from '../../lib/index.js';
import { RedisServer } from '../support/redis-server.js';
import { compileLibrary, type CompiledRegistry } from './compiled-registry.js';
import { eventually, pause } from './registry-fixture.js';

/** A service whose handler blocks the event loop. It ends by itself once it is closed; what it logs is in its answer to `log`. */
const SERVICE = `
  import { syncBuiltinESMExports } from 'node:module';
  import threads from 'node:worker_threads';
  let thread;
  const { Worker } = threads;
  threads.Worker = class extends Worker {
    constructor(...args) { super(...args); thread = this; }
  };
  syncBuiltinESMExports();
  const lines = [];
  const keep = (line) => void lines.push(String(line));
  const server = new mesh.MeshServer({
    ...JSON.parse(process.argv[2]),
    logger: { log: keep, warn: keep, error: keep, debug: () => undefined },
  });
  server.addHandler('block', async (ms) => {
    for (const end = performance.now() + ms; performance.now() < end;);
    return 'done';
  });
  server.addHandler('echo', async (data) => data);
  server.addHandler('log', async () => lines);
  server.addHandler('threads', async () => (thread === undefined ? 0 : 1));
  server.addHandler('kill the thread', async () => thread.terminate());
  await new Promise((resolve, reject) => server.listen((error) => (error ? reject(error) : resolve())));
  process.on('SIGTERM', () => server.close());
`;

const TTL_MS = 1_000;
const HEARTBEAT_MS = 200;

let compiled: CompiledRegistry;
let server: RedisServer;
let redis: Redis;
const children: ChildProcess[] = [];
const clients: MeshClientProxy[] = [];

beforeAll(async () => {
  compiled = await compileLibrary();
});
afterAll(() => compiled.remove());
beforeEach(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.url);
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
  redis.disconnect();
  await server.stop();
});

interface Service {
  readonly child: ChildProcess;
  readonly client: MeshClientProxy;
  /** Whether its record stands. */
  readonly stands: () => Promise<boolean>;
}

async function start(options: Partial<MeshOptions>): Promise<Service> {
  const nodeId = randomUUID();
  const all = {
    service: 'busy',
    registry: server.url,
    nodeId,
    heartbeatIntervalMs: HEARTBEAT_MS,
    ttlMs: TTL_MS,
    ...options,
  };
  const child = await compiled.run(SERVICE, JSON.stringify(all));
  children.push(child);
  // Its channel is not the subject here: a blocked loop answers no PING.
  const client = new MeshClientProxy({
    service: 'caller',
    registry: server.url,
    to: 'busy',
    heartbeatIntervalMs: HEARTBEAT_MS,
    ttlMs: TTL_MS,
    keepAlive: { intervalMs: 0 },
  });
  clients.push(client);
  await expect(client.call('echo', 'there')).resolves.toBe('there');
  return { child, client, stands: async () => (await redis.exists(`mesh:service:busy:${nodeId}`)) === 1 };
}

/** How often the record was missing while `work` went on. It polls: that something never happens has no event. */
async function missingDuring(
  service: Service,
  work: Promise<unknown>,
): Promise<{ looks: number; missing: number }> {
  const counted = { looks: 0, missing: 0 };
  const isOver = work.then(() => true);
  do {
    counted.looks += 1;
    if (!(await service.stands())) counted.missing += 1;
  } while (!(await Promise.race([isOver, pause(25)])));
  return counted;
}

describe('a handler that blocks the event loop for longer than the lease', () => {
  it('makes its node disappear from the registry; its channel keeps it in use, and it is back within a beat', async () => {
    const service = await start({});
    const { client, stands } = service;
    await expect(client.call('threads', {})).resolves.toBe(0);
    const blocked = client.call('block', 3 * TTL_MS);
    await eventually(async () => expect(await stands()).toBe(false), 2 * TTL_MS);
    const waiting = client.call('echo', 'sent meanwhile');
    await expect(Promise.all([blocked, waiting])).resolves.toEqual(['done', 'sent meanwhile']);
    await eventually(async () => expect(await stands()).toBe(true), HEARTBEAT_MS + 500);
    await eventually(async () => expect(await client.unwrap().discover('busy')).toHaveLength(1));
  });

  it('leaves it in the registry all the time with leaseThread: for 15 s at a lease of 3 s', async () => {
    const service = await start({ leaseThread: true, ttlMs: 3_000, heartbeatIntervalMs: 500 });
    await expect(service.client.call('threads', {})).resolves.toBe(1);
    const blocked = service.client.call('block', 15_000);
    const { looks, missing } = await missingDuring(service, blocked);
    await expect(blocked).resolves.toBe('done');
    expect(looks).toBeGreaterThan(100);
    expect(missing).toBe(0);
  }, 90_000);
});

describe('with leaseThread', () => {
  it('a node that is blocked for longer than maxBlockedMs leaves the registry, and comes back when it goes on', async () => {
    const { client, stands } = await start({ leaseThread: true, maxBlockedMs: 1_000 });
    const blocked = client.call('block', 4_000);
    // By a withdrawal: a lease that is renewed all the time does not end.
    await eventually(async () => expect(await stands()).toBe(false), 3_000);
    await blocked;
    await eventually(async () => expect(await stands()).toBe(true), HEARTBEAT_MS + 500);
    expect(String(await client.call('log', {}))).toContain(
      'lease thread: the main thread was blocked for more than 1000 ms (maxBlockedMs)',
    );
  });

  it('a node withdraws its record when it is closed, and its process ends by itself', async () => {
    const { child, stands } = await start({ leaseThread: true });
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
    expect(await stands()).toBe(false);
  });

  it('a thread that dies is replaced, and the record stands before its lease ends', async () => {
    // Longer than elsewhere: on a busy machine a thread takes its time to begin.
    const ttlMs = 5_000;
    const service = await start({ leaseThread: true, ttlMs });
    const { client } = service;
    // So long that the lease of the dead thread would end.
    const dying = client.call('kill the thread', {}).then(() => pause(1.5 * ttlMs));
    expect((await missingDuring(service, dying)).missing).toBe(0);
    expect(String(await client.call('log', {}))).toMatch(/the lease thread has failed.*it is started again/);
  });

  it('a flushed Redis has the record again within a beat, also while the event loop is blocked', async () => {
    const { client, stands } = await start({ leaseThread: true });
    const blocked = client.call('block', 2_000);
    await redis.flushall();
    await eventually(async () => expect(await stands()).toBe(true), HEARTBEAT_MS + 500);
    await blocked;
  });

  it('listening fails like without it when the registry is away, and the process ends', async () => {
    await server.kill();
    const options = { service: 'busy', registry: server.url, leaseThread: true, registryTimeoutMs: 500 };
    const child = await compiled.run(
      `const server = new mesh.MeshServer({ ...JSON.parse(process.argv[2]), logger: { log() {}, warn() {}, error() {}, debug() {} } });
       const error = await new Promise((resolve) => server.listen(resolve));
       await server.close();
       process.exitCode = error.code === 'UNAVAILABLE' ? 7 : 1;`,
      JSON.stringify(options),
    );
    children.push(child);
    expect(await once(child, 'exit')).toEqual([7, null]);
  });

  it('a directory is a registry, too', async () => {
    const child = await compiled.run(
      `import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
       import { tmpdir } from 'node:os';
       const dir = mkdtempSync(tmpdir() + '/mesh-lease-');
       const records = () => readdirSync(dir, { recursive: true }).filter((name) => name.endsWith('.json'));
       const server = new mesh.MeshServer({ service: 'filed', registry: 'file:' + dir, leaseThread: true });
       await new Promise((resolve, reject) => server.listen((error) => (error ? reject(error) : resolve())));
       const while_open = records().length;
       await server.close();
       const after = records().length;
       rmSync(dir, { recursive: true });
       process.exitCode = while_open === 1 && after === 0 ? 7 : 1;`,
    );
    children.push(child);
    expect(await once(child, 'exit')).toEqual([7, null]);
  });
});
