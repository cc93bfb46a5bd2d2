/** Nodes that fail are left out and tried again; weights, zones and the age of nodes reach those who choose. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { weighted } from '../../lib/routing/weighted.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { eventually, pause } from '../support/eventually.js';
import { callOf, Mesh } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** A node that counts its calls, and fails them as long as it is told to. */
interface Counting {
  readonly id: string;
  calls: number;
  fails: boolean;
}

async function counting(fails = false, options: Partial<MeshOptions> = {}, workMs = 0): Promise<Counting> {
  const work = async (_: unknown, call: InboundCall): Promise<void> => {
    state.calls += 1;
    if (workMs > 0) await pause(workMs); // So that calls are open beside each other.
    if (state.fails) call.fail(new MeshError('INTERNAL', 'it broke', { delivery: 'unknown' }).toWire());
    else call.respond(state.id);
  };
  const node = await mesh.serve('work', { calls: { work: (data, call) => void work(data, call) } }, options);
  const state: Counting = { id: node.id, calls: 0, fails };
  return state;
}

/** A caller with channels to all of so many nodes. */
async function callerOf(count: number, options: Partial<MeshOptions> = {}): Promise<MeshNode> {
  const caller = mesh.node({ connectTo: ['work'], picker: roundRobin, retry: { attempts: 1 }, ...options });
  await caller.connect();
  await connected(caller, count);
  return caller;
}

async function connected(caller: MeshNode, count: number): Promise<void> {
  await eventually(
    'all are connected',
    () => caller.status.peers.filter(({ state }) => state === 'connected').length === count,
  );
}

/** Makes calls one after the other; gives how many have failed. */
async function drive(caller: MeshNode, times: number, target: object = {}): Promise<number> {
  let failed = 0;
  for (let n = 0; n < times; n += 1)
    await callOf(caller, { ...WORK, ...target }, 'work').catch(() => (failed += 1));
  return failed;
}

describe('A node that fails five times in a row', () => {
  it('is left out, and the log says why', async () => {
    const [bad] = [await counting(true), await counting(), await counting()];
    const caller = await callerOf(3, { ejection: { baseMs: 60_000 } });
    expect(await drive(caller, 60)).toBe(5);
    expect(bad.calls).toBe(5);
    expect(mesh.warnings.join('\n')).toMatch(
      /work \(127\.0\.0\.1:\d+\) is left out: 5 calls in a row have failed, .*it broke.*; it gets no calls for 60000 ms/,
    );
  });

  it('is tried by one call after that, and left out again when it fails', async () => {
    const [bad] = [await counting(true), await counting(), await counting()];
    const caller = await callerOf(3, { ejection: { baseMs: 100, maxMs: 60_000, consecutiveFailures: 2 } });
    await drive(caller, 12);
    expect(bad.calls).toBe(2);
    await pause(150); // Longer than it is left out for the first time.
    expect(await drive(caller, 12)).toBe(1);
    expect(bad.calls).toBe(3);
  });

  it.each([
    ['round robin', { picker: roundRobin }],
    ['the default picker', { picker: undefined }],
  ])('is back with %s as soon as that call is answered', async (_, options) => {
    const [bad] = [await counting(true), await counting(), await counting()];
    const caller = await callerOf(3, {
      ...options,
      slowStartMs: 0,
      ejection: { baseMs: 100, consecutiveFailures: 2 },
    });
    await drive(caller, 2, { nodeId: bad.id });
    expect(mesh.warnings.join()).toContain('is left out');
    bad.fails = false;
    const { calls } = bad;
    await pause(150); // Longer than it is left out.
    expect(await drive(caller, 1)).toBe(0);
    expect(bad.calls).toBe(calls + 1);
    await Promise.all(Array.from({ length: 60 }, () => drive(caller, 1)));
    expect(bad.calls).toBeGreaterThan(calls + 1);
  });

  it('loses its keys to others, for as long as it is left out', async () => {
    const nodes = [await counting(), await counting(), await counting()];
    const caller = await callerOf(3, { ejection: { baseMs: 60_000, consecutiveFailures: 2 } });
    const owner = await callOf(caller, { ...WORK, key: 'customer-7' }, 'work');
    const bad = nodes.find(({ id }) => id === owner);
    if (bad === undefined) throw new Error('one of them has answered');
    bad.fails = true;
    expect(await drive(caller, 10, { key: 'customer-7' })).toBe(2);
  });

  it('is asked all the same when it is the only one', async () => {
    const bad = await counting(true);
    const caller = await callerOf(1);
    expect(await drive(caller, 20)).toBe(20);
    expect(bad.calls).toBe(20);
  });
});

describe('A service of which all nodes fail', () => {
  it('is asked as a whole when more than half of it would be left out', async () => {
    const nodes = [await counting(true), await counting(true), await counting(true), await counting(true)];
    const caller = await callerOf(4, { ejection: { baseMs: 60_000, maxShare: 1 } });
    await drive(caller, 60);
    expect(mesh.warnings.filter((warning) => warning.includes('is left out')).length).toBeGreaterThan(2);
    const before = nodes.map(({ calls }) => calls);
    await drive(caller, 40);
    expect(nodes.map(({ calls }, at) => calls - (before[at] ?? 0))).toEqual([10, 10, 10, 10]);
  });
});

describe('The weights of nodes', () => {
  it('reach their callers through the registry', async () => {
    const nodes: Counting[] = [];
    for (const weight of [1, 2, 4]) nodes.push(await counting(false, { weight }));
    const caller = await callerOf(3, { picker: weighted });
    await drive(caller, 70);
    for (const [at, share] of [10, 20, 40].entries())
      expect(Math.abs((nodes[at]?.calls ?? 0) - share)).toBeLessThanOrEqual(1);
  });

  it('hold with many calls under way', async () => {
    const nodes: Counting[] = [];
    for (const weight of [1, 2, 4]) nodes.push(await counting(false, { weight }, 2));
    const caller = await callerOf(3, { picker: weighted });
    await Promise.all(Array.from({ length: 28 }, () => drive(caller, 25)));
    const [light, , heavy] = nodes.map(({ calls }) => calls);
    expect((heavy ?? 0) / (light ?? 1)).toBeGreaterThan(2.5);
    expect((heavy ?? 0) / (light ?? 1)).toBeLessThan(6);
  });
});

describe('The zones of nodes', () => {
  it('reach their callers through the registry, who stay in their own', async () => {
    const here = [await counting(false, { zone: 'here' }), await counting(false, { zone: 'here' })];
    const there = [await counting(false, { zone: 'there' }), await counting()];
    const caller = await callerOf(4, { zone: 'here' });
    await drive(caller, 20);
    const sumOf = (nodes: readonly Counting[]): number => nodes.reduce((sum, { calls }) => sum + calls, 0);
    // The first calls of a process may be slow enough for one to leave.
    expect(sumOf(here)).toBeGreaterThanOrEqual(18);
    expect(sumOf(here) + sumOf(there)).toBe(20);
  });

  it('keep nobody from calling another one when there is no node in the own', async () => {
    const there = await counting(false, { zone: 'there' });
    await drive(await callerOf(1, { zone: 'here' }), 5);
    expect(there.calls).toBe(5);
  });

  it('fill the subset of a caller before others do', async () => {
    const far = await Promise.all(Array.from({ length: 8 }, () => counting(false, { zone: 'there' })));
    const near = [await counting(false, { zone: 'here' }), await counting(false, { zone: 'here' })];
    const caller = mesh.node({ zone: 'here', subsetSize: 2, picker: roundRobin });
    await eventually('all are found', async () => (await caller.discover('work')).length === 10);
    await drive(caller, 20);
    expect(near.map(({ calls }) => calls).reduce((sum, calls) => sum + calls)).toBe(20);
    expect(far.every(({ calls }) => calls === 0)).toBe(true);
  });
});

describe('A node that joins', () => {
  /** How many calls it has for each call of the others. */
  async function joining(slowStartMs: number): Promise<number> {
    const old = [await counting(false, {}, 2), await counting(false, {}, 2)];
    const caller = await callerOf(2, { picker: undefined, slowStartMs });
    await drive(caller, 20);
    const fresh = await counting(false, {}, 2);
    await connected(caller, 3);
    const before = old.reduce((sum, { calls }) => sum + calls, 0);
    await Promise.all(Array.from({ length: 24 }, () => drive(caller, 25)));
    const after = old.reduce((sum, { calls }) => sum + calls, 0);
    return (2 * fresh.calls) / (after - before);
  }

  it('begins with few calls', async () => {
    const share = await joining(600_000);
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(0.4);
  });

  it('has its share at once with slowStartMs: 0', async () => {
    expect(await joining(0)).toBeGreaterThan(0.4);
  });
});
