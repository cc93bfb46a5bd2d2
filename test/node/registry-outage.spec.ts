/** A Redis that is there and no use: nodes that know each other go on as if nothing were, and everything heals. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { MeshNode } from '../../lib/node/mesh-node.js';
import { callOf, handlersOf } from '../support/mesh-fixture.js';
import { freePort, RedisServer } from '../support/redis-server.js';
import { NONSENSE, registryGate, type RegistryGate } from '../support/registry-gate.js';
import { slowLink } from '../support/slow-link.js';
import { eventually, pause } from '../registry/registry-fixture.js';

const FAST = { heartbeatIntervalMs: 200, ttlMs: 1_000, registryTimeoutMs: 1_000 };
/** Longer than two leases. */
const OUTAGE_MS = 2_500;

let redis: RedisServer;
let admin: Redis;
let gate: RegistryGate;
const nodes: MeshNode[] = [];
const warnings: string[] = [];
const logs: string[] = [];
const unhandled: unknown[] = [];
const noteUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeEach(async () => {
  process.on('unhandledRejection', noteUnhandled);
  redis = await RedisServer.start();
  admin = new Redis(redis.url);
  gate = await registryGate(redis.port);
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await gate.close();
  admin.disconnect();
  await redis.stop();
  warnings.length = 0;
  logs.length = 0;
  process.off('unhandledRejection', noteUnhandled);
  expect(unhandled.splice(0)).toEqual([]);
});

function newNode(service: string, registry: string): MeshNode {
  const node = new MeshNode({
    service,
    registry,
    ...FAST,
    logger: {
      log: (message) => void logs.push(message),
      warn: (message) => void warnings.push(message),
      error: (message) => void warnings.push(message),
      debug: () => undefined,
    },
  });
  nodes.push(node);
  return node;
}

async function serve(service: string, registry: string): Promise<MeshNode> {
  const node = newNode(service, registry);
  node.setHandlers(handlersOf({ calls: { whoami: () => node.id } }));
  await node.listen();
  await node.announce();
  return node;
}

/** Calls any of the nodes, and each of them, until the time is over. A call that fails fails the test. */
async function callFor(caller: MeshNode, ms: number, known: readonly MeshNode[]): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end;) {
    await callOf(caller, { service: 'orders' }, 'whoami');
    for (const { id: nodeId } of known)
      expect(await callOf(caller, { service: 'orders', nodeId }, 'whoami')).toBe(nodeId);
    // So that the machine has time for the other side too.
    await pause(2);
  }
}

const keys = (service: string): Promise<string[]> => admin.keys(`mesh:service:${service}:*`);
const stateOf = (node: MeshNode): string => node.status.registry.state;

interface Fault {
  begin(): unknown;
  end(): unknown;
}

/** By what befalls Redis. */
const FAULTS: Record<string, () => Fault> = {
  'is full and refuses to write (OOM)': () => ({
    begin: () => admin.config('SET', 'maxmemory', '1'),
    end: () => admin.config('SET', 'maxmemory', '0'),
  }),
  'has become a replica (READONLY)': () => ({
    begin: async () => admin.replicaof('127.0.0.1', await freePort()),
    end: () => admin.replicaof('NO', 'ONE'),
  }),
  'does not permit to write (NOPERM)': () => ({
    begin: () => admin.call('ACL', 'SETUSER', 'default', '-set', '-zadd'),
    end: () => admin.call('ACL', 'SETUSER', 'default', '+set', '+zadd'),
  }),
  'wants a password all at once (NOAUTH)': () => ({
    begin: async () => {
      await admin.config('SET', 'requirepass', 'new');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    },
    end: () => admin.config('SET', 'requirepass', ''),
  }),
  ...Object.fromEntries(
    Object.entries(NONSENSE).map(([name, text]) => [
      `answers ${name}`,
      () => ({ begin: () => gate.answer(text), end: () => gate.answer(undefined) }),
    ]),
  ),
};

describe('a Redis that', () => {
  it.each(Object.keys(FAULTS))(
    '%s fails no call between known nodes, is told as stale, and heals within a beat',
    async (name) => {
      const fault = FAULTS[name]?.();
      const [first, second] = [await serve('orders', gate.url), await serve('orders', gate.url)];
      // Nobody has ever called it, so no channel keeps it.
      const quiet = await serve('quiet', gate.url);
      const caller = newNode('caller', gate.url);
      await caller.connect();
      expect(await caller.discover('quiet')).toHaveLength(1);
      await eventually(async () => expect(await caller.discover('orders')).toHaveLength(2));
      await callFor(caller, 100, [first, second]);

      await fault?.begin();
      const beganAt = Date.now();
      await callFor(caller, OUTAGE_MS, [first, second]);
      expect(stateOf(first)).toBe('stale');
      const { registry } = first.status;
      expect(Math.abs((registry.state === 'stale' ? registry.since : 0) - beganAt)).toBeLessThan(OUTAGE_MS);
      expect(await caller.discover('orders')).toHaveLength(2);
      expect(warnings.some((text) => text.includes('is away ('))).toBe(true);

      await fault?.end();
      await eventually(
        () => expect([first, second, quiet].map(stateOf)).toEqual(Array(3).fill('connected')),
        5_000,
      );
      await eventually(async () => {
        expect(await keys('orders')).toHaveLength(2);
        expect(await keys('quiet')).toHaveLength(1);
      });
      expect(logs.some((text) => /is back; it was stale for \d+ s$/.test(text))).toBe(true);
      await expect(callOf(caller, { service: 'quiet' }, 'whoami')).resolves.toBe(quiet.id);
      await serve('late', gate.url);
      await expect(callOf(caller, { service: 'late' }, 'whoami')).resolves.toEqual(expect.any(String));
    },
  );

  it('takes 200 ms for each answer is as good as any: nodes are found, and none of them disappears', async () => {
    const slow = await slowLink(() => redis.port, 100);
    try {
      const url = `redis://127.0.0.1:${slow.port}`;
      const [first, second] = await Promise.all([serve('orders', url), serve('orders', url)]);
      const caller = newNode('caller', url);
      await caller.connect();
      await eventually(async () => expect(await caller.discover('orders')).toHaveLength(2), 5_000);
      await callFor(caller, OUTAGE_MS, [first, second]);
      expect(await caller.discover('orders')).toHaveLength(2);
      expect([first, second, caller].map(stateOf)).toEqual(Array(3).fill('connected'));
      expect(warnings).toEqual([]);
      const late = await serve('late', url);
      await expect(callOf(caller, { service: 'late' }, 'whoami')).resolves.toBe(late.id);
    } finally {
      await Promise.all(nodes.splice(0).map((node) => node.close()));
      await slow.close();
    }
  });
});
