/** Many calls under way to several nodes: who has answered takes the next, but nobody more than its share. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { callOf, Mesh } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };
const NODES = 4;
const IN_FLIGHT = 64;
const EACH = 12;

const mesh = new Mesh();
afterEach(() => mesh.close());

interface Counted {
  handled: number;
  open: number;
  mostOpen: number;
}

/** Nodes that count the calls under way; the first takes `slowMs` for each. */
async function serveCounted(slowMs: number): Promise<Counted[]> {
  const counts: Counted[] = [];
  for (let n = 0; n < NODES; n += 1) {
    const count: Counted = { handled: 0, open: 0, mostOpen: 0 };
    counts.push(count);
    const work = async (): Promise<number> => {
      count.open += 1;
      count.mostOpen = Math.max(count.mostOpen, count.open);
      await pause(n === 0 ? slowMs : 0);
      count.open -= 1;
      return (count.handled += 1);
    };
    await mesh.serve('work', { calls: { work } });
  }
  return counts;
}

async function drive(): Promise<void> {
  // The picker of the others, which is to be no part of what is seen.
  const caller = mesh.node({ picker: roundRobin });
  await caller.discover('work');
  // Each node is dialled before it counts.
  for (let n = 0; n < 2 * NODES; n += 1) await callOf(caller, WORK, 'work');
  const chain = async (): Promise<void> => {
    for (let n = 0; n < EACH; n += 1) await callOf(caller, WORK, 'work');
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, chain));
}

describe('many calls under way to several nodes', () => {
  it('give no node more than its share of what is open', async () => {
    const counts = await serveCounted(0);
    await drive();
    const share = IN_FLIGHT / NODES;
    for (const { mostOpen } of counts) expect(mostOpen).toBeLessThanOrEqual(share + 1);
    expect(counts.reduce((sum, { handled }) => sum + handled, 0)).toBe(IN_FLIGHT * EACH + 2 * NODES);
    for (const { handled } of counts) expect(handled).toBeGreaterThan((IN_FLIGHT * EACH) / NODES / 2);
  });

  it('give a slow node fewer calls than the others', async () => {
    const [slow, ...others] = await serveCounted(250);
    await drive();
    const handled = others.map((count) => count.handled);
    expect(Math.min(...handled)).toBeGreaterThan(2 * (slow?.handled ?? Infinity));
  });
});
