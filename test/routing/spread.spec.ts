/** How each picker spreads calls, by simulation: chance is seeded, and time is virtual. */
import { describe, expect, it } from '@jest/globals';
import { boundedLoad } from '../../lib/routing/bounded-load.js';
import { leastOpen } from '../../lib/routing/least-open.js';
import { p2cWith, type PickerSources } from '../../lib/routing/p2c.js';
import type { PickerFactory } from '../../lib/routing/picker.js';
import { randomWith } from '../../lib/routing/random.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { weighted } from '../../lib/routing/weighted.js';
import { preferZone } from '../../lib/routing/zone.js';
import { sharesOf, simulate, type SimulatedCall, type SimulatedNode } from '../support/simulation.js';

type Make = (sources: PickerSources) => PickerFactory;

const P2C: Make = (sources) => p2cWith(sources);
const PICKERS = {
  p2c: P2C,
  roundRobin: () => roundRobin,
  random: (sources: PickerSources) => randomWith(sources),
  weighted: () => weighted,
  leastOpen: () => leastOpen,
  boundedLoad: (sources: PickerSources) => boundedLoad({ otherwise: p2cWith(sources) }),
} satisfies Record<string, Make>;
type PickerName = keyof typeof PICKERS;

const WORK_MS = 10;
/** A third of what four nodes can do. */
const CALLS_PER_SECOND = 1_000;
const DURATION_MS = 10_000;

function four(first: Partial<SimulatedNode> = {}): SimulatedNode[] {
  return ['first', 'b', 'c', 'd'].map((id) => ({ id, workMs: WORK_MS, ...(id === 'first' ? first : {}) }));
}

function spread(picker: Make, nodes: readonly SimulatedNode[]): SimulatedCall[] {
  return simulate({
    nodes,
    clients: [{ picker, callsPerSecond: CALLS_PER_SECOND }],
    durationMs: DURATION_MS,
  });
}

function shareOfFirst(picker: PickerName, first: Partial<SimulatedNode>): number {
  return sharesOf(spread(PICKERS[picker], four(first)))['first'] ?? 0;
}

describe('Of four nodes that are alike', () => {
  it.each<[PickerName, number]>([
    ['p2c', 0.04],
    ['roundRobin', 0.001],
    ['random', 0.02],
    ['weighted', 0.001],
    ['leastOpen', 0.02],
    ['boundedLoad', 0.04],
  ])('%s gives each a quarter of the calls, to within %p', (picker, within) => {
    const shares = Object.values(sharesOf(spread(PICKERS[picker], four())));
    expect(shares).toHaveLength(4);
    for (const share of shares) expect(Math.abs(share - 0.25)).toBeLessThan(within);
  });
});

describe('A node that is ten times slower than the three others', () => {
  it.each<[PickerName, number, number]>([
    ['p2c', 0, 0.06],
    ['leastOpen', 0, 0.16],
    ['boundedLoad', 0, 0.06],
    ['roundRobin', 0.24, 0.26],
    ['random', 0.23, 0.27],
    ['weighted', 0.24, 0.26],
  ])('has of %s between %p and %p of the calls', (picker, least, most) => {
    const share = shareOfFirst(picker, { workMs: 10 * WORK_MS });
    expect(share).toBeGreaterThanOrEqual(least);
    expect(share).toBeLessThan(most);
  });
});

describe('A node that fails every call at once', () => {
  it.each<[PickerName, number, number]>([
    ['p2c', 0, 0.03],
    ['boundedLoad', 0, 0.03],
    ['random', 0.23, 0.27],
    // Who counts open calls only takes it for the fastest: it is left to ejection.
    ['leastOpen', 0.25, 1],
  ])('has of %s between %p and %p of the calls', (picker, least, most) => {
    const share = shareOfFirst(picker, { workMs: 0.1, fails: true });
    expect(share).toBeGreaterThanOrEqual(least);
    expect(share).toBeLessThan(most);
  });
});

describe('Of nodes with the weights 1, 2 and 4, as strong as they are heavy,', () => {
  const nodes = [1, 2, 4].map((weight) => ({
    id: `weight ${weight}`,
    workMs: WORK_MS,
    weight,
    workers: 4 * weight,
  }));

  it.each<[PickerName, number]>([
    ['weighted', 0.001],
    ['leastOpen', 0.05],
    ['p2c', 0.1],
  ])('%s gives each its share, to within %p', (picker, within) => {
    const shares = sharesOf(
      simulate({
        nodes,
        clients: [{ picker: PICKERS[picker], callsPerSecond: 2_000 }],
        durationMs: DURATION_MS,
      }),
    );
    for (const { id, weight } of nodes) expect(Math.abs((shares[id] ?? 0) - weight / 7)).toBeLessThan(within);
  });
});

describe('A new node, beside three that are there for long,', () => {
  const JOINS_MS = 10_000;
  const nodes = four({ joinsAtMs: JOINS_MS });
  const shareBetween = (slowStartMs: number, from: number, to: number): number => {
    const calls = simulate({
      nodes,
      clients: [{ picker: P2C, callsPerSecond: CALLS_PER_SECOND }],
      durationMs: 40_000,
      slowStartMs,
    });
    const shown = calls.filter(({ atMs }) => atMs >= JOINS_MS + from && atMs < JOINS_MS + to);
    return sharesOf(shown)['first'] ?? 0;
  };

  it('has few calls at first with slow start, and its share afterwards', () => {
    expect(shareBetween(10_000, 0, 1_000)).toBeLessThan(0.1);
    expect(shareBetween(10_000, 0, 1_000)).toBeGreaterThan(0);
    expect(shareBetween(10_000, 15_000, 30_000)).toBeGreaterThan(0.2);
    expect(shareBetween(10_000, 15_000, 30_000)).toBeLessThan(0.3);
  });

  it('is not rushed to without slow start either', () => {
    expect(shareBetween(0, 0, 1_000)).toBeGreaterThan(0.15);
    expect(shareBetween(0, 0, 1_000)).toBeLessThan(0.4);
  });
});

describe('Of two zones with two nodes each, and three times as many calls from one', () => {
  const nodes = ['a', 'a', 'b', 'b'].map((zone, at) => ({
    id: `${zone}${at}`,
    zone,
    workMs: WORK_MS,
    workers: 8,
  }));
  /** What part of the calls of each zone leaves it. */
  function leaving(callsPerSecond: number): [number, number] {
    const picker =
      (zone: string): Make =>
      (sources) =>
        preferZone(zone, p2cWith(sources), { sources });
    const calls = simulate({
      nodes,
      clients: [
        { picker: picker('a'), callsPerSecond: 0.75 * callsPerSecond },
        { picker: picker('b'), callsPerSecond: 0.25 * callsPerSecond },
      ],
      durationMs: DURATION_MS,
    });
    const share = (client: number): number => {
      const own = calls.filter((call) => call.client === client);
      return own.filter(({ node }) => !node.startsWith(client === 0 ? 'a' : 'b')).length / own.length;
    };
    return [share(0), share(1)];
  }

  it('nearly all stay at home as long as there is room', () => {
    const [busy, quiet] = leaving(200);
    expect(busy).toBeLessThan(0.1);
    expect(quiet).toBeLessThan(0.1);
  });

  it('the busy zone sends away what is too much for it, and the quiet one less than that', () => {
    // The busy zone alone would need 1.3 times what its nodes can do.
    const [busy, quiet] = leaving(2_800);
    expect(busy).toBeGreaterThan(0.25);
    expect(busy).toBeLessThan(0.5);
    expect(quiet).toBeLessThan(0.2);
  });
});

describe('A key that half of the calls have', () => {
  const keyOf = (random: () => number): string =>
    random() < 0.5 ? 'hot' : `key ${Math.floor(random() * 1_000)}`;
  const nodes = four();
  const hot = (make: Make): SimulatedCall[] =>
    simulate({
      nodes,
      clients: [{ picker: make, callsPerSecond: CALLS_PER_SECOND, keyOf }],
      durationMs: DURATION_MS,
    });

  it('has one node, whatever becomes of it, with plain hashing', () => {
    const calls = hot(PICKERS.p2c);
    expect(new Set(calls.filter(({ key }) => key === 'hot').map(({ node }) => node)).size).toBe(1);
    expect(Math.max(...Object.values(sharesOf(calls)))).toBeGreaterThan(0.55);
  });

  it('leaves its node with bounded load as soon as that has 1.25 times its share of the open calls', () => {
    const calls = hot(PICKERS.boundedLoad);
    const tooMany = calls.filter(
      ({ openThere, openInAll }) => openThere > Math.ceil((1.25 * openInAll) / nodes.length),
    );
    expect(tooMany).toEqual([]);
    expect(Math.max(...Object.values(sharesOf(calls)))).toBeLessThan(0.45);
  });

  it('does not move the others: most calls of a key go to one node', () => {
    const byKey = new Map<string | undefined, SimulatedCall[]>();
    for (const call of hot(PICKERS.boundedLoad)) {
      const calls = byKey.get(call.key);
      if (calls === undefined) byKey.set(call.key, [call]);
      else calls.push(call);
    }
    const staying = [...byKey].map(([, calls]) => Math.max(...Object.values(sharesOf(calls))));
    expect(staying.reduce((sum, share) => sum + share, 0) / staying.length).toBeGreaterThan(0.5);
  });
});
