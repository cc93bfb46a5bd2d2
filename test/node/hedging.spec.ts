/** A call without an answer is made a second time, on another node, and the first answer counts. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { eventually } from '../support/eventually.js';
import { Mesh } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** A node that keeps its calls, and one that answers at once; both note what they have got. */
async function slowAndFast(): Promise<{ kept: InboundCall[]; answered: () => number }> {
  const kept: InboundCall[] = [];
  let answered = 0;
  await mesh.serve('work', { calls: { w: (_data, call) => void kept.push(call) } });
  await mesh.serve('work', { calls: { w: () => (answered += 1) } });
  return { kept, answered: () => answered };
}

async function callerOf(nodes: number): Promise<MeshNode> {
  const caller = mesh.node({ picker: roundRobin });
  await eventually('all are found', async () => (await caller.discover('work')).length === nodes);
  return caller;
}

function hedged(
  caller: MeshNode,
  options: { idempotent?: boolean; timeoutMs?: number } = {},
): Promise<unknown> {
  const { idempotent = true, timeoutMs = 5_000 } = options;
  const request = {
    pattern: 'w',
    route: 'w',
    data: 0,
    metadata: undefined,
    timeoutMs,
    idempotent,
    hedgeAfterMs: 30,
  };
  return new Promise((resolve, reject) => {
    caller.request(WORK, request, { onPacket: ({ response }) => resolve(response), onFailure: reject });
  });
}

describe('a hedged call', () => {
  it('has the answer of the faster node, and the slower one is told that nobody wants its own', async () => {
    const { kept, answered } = await slowAndFast();
    const caller = await callerOf(2);
    // In turn: every second call begins with the node that keeps it.
    for (let n = 0; n < 6; n += 1) await hedged(caller);
    expect(answered()).toBe(6);
    expect(kept.length).toBeGreaterThan(0);
    await eventually('all that were kept are cancelled', () => kept.every(({ cancelled }) => cancelled));
  });

  it('is made once where it may not run twice', async () => {
    const { kept, answered } = await slowAndFast();
    const caller = await callerOf(2);
    // Both are connected after these: each call of a pair then goes to another node.
    for (let n = 0; n < 2; n += 1) await hedged(caller);
    const before = [kept.length, answered()] as const;
    const calls = [0, 1].map(() => hedged(caller, { idempotent: false, timeoutMs: 300 }));
    const results = await Promise.allSettled(calls);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'DEADLINE_EXCEEDED', delivery: 'unknown' },
    });
    expect([kept.length - before[0], answered() - before[1]]).toEqual([1, 1]);
  });

  it('fails once, when neither of the two is answered', async () => {
    const kept: InboundCall[] = [];
    for (let n = 0; n < 2; n += 1)
      await mesh.serve('work', { calls: { w: (_data, call) => void kept.push(call) } });
    const caller = await callerOf(2);
    await expect(hedged(caller, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(kept).toHaveLength(2);
    await eventually('both are cancelled', () => kept.every(({ cancelled }) => cancelled));
  });

  it('leaves both nodes when its caller cancels it', async () => {
    const kept: InboundCall[] = [];
    for (let n = 0; n < 2; n += 1)
      await mesh.serve('work', { calls: { w: (_data, call) => void kept.push(call) } });
    const caller = await callerOf(2);
    const request = {
      pattern: 'w',
      route: 'w',
      data: 0,
      metadata: undefined,
      timeoutMs: 0,
      idempotent: true,
      hedgeAfterMs: 10,
    };
    let told = 0;
    const observer = { onPacket: () => void (told += 1), onFailure: () => void (told += 1) };
    const call = caller.request(WORK, request, observer);
    await eventually('both have it', () => kept.length === 2);
    call.cancel();
    await eventually('both are cancelled', () => kept.every(({ cancelled }) => cancelled));
    expect(told).toBe(0);
  });
});
