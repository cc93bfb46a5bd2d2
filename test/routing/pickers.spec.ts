/** The pickers, one call at a time: what each looks at, and whom it takes. */
import { describe, expect, it } from '@jest/globals';
import { boundedLoad } from '../../lib/routing/bounded-load.js';
import { leastOpen } from '../../lib/routing/least-open.js';
import { p2c, p2cWith } from '../../lib/routing/p2c.js';
import type { Picker, PickerFactory } from '../../lib/routing/picker.js';
import { random, randomWith } from '../../lib/routing/random.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { weighted } from '../../lib/routing/weighted.js';
import { preferZone } from '../../lib/routing/zone.js';
import { candidate, type TestCandidate } from '../support/candidates.js';
import { seeded } from '../support/simulation.js';

const PICKERS: Readonly<Record<string, PickerFactory>> = {
  p2c,
  random,
  weighted,
  leastOpen,
  roundRobin,
  boundedLoad: boundedLoad(),
  preferZone: preferZone('a', p2c),
};

/** Chance and time of a test. */
const sources = (seed = 1): { random: () => number; now: () => number } => ({
  random: seeded(seed),
  now: () => 0,
});

function countsOf(picker: Picker, times: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < times; n += 1) {
    const id = picker.pick({})?.id ?? 'nobody';
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

function named(...ids: string[]): TestCandidate[] {
  return ids.map((id) => candidate(id));
}

describe.each(Object.entries(PICKERS))('the picker %s', (_, factory) => {
  it('picks nobody when there is nobody, and the only one when there is one', () => {
    expect(factory([], undefined).pick({})).toBeUndefined();
    expect(factory([], undefined).pick({ key: 'k' })).toBeUndefined();
    expect(factory(named('a'), undefined).pick({})?.id).toBe('a');
    expect(factory(named('a'), undefined).pick({ key: 'k' })?.id).toBe('a');
  });

  it('gives calls with the same key the same idle node, whatever the order in which nodes were found', () => {
    const one = factory(named('a', 'b', 'c', 'd'), undefined);
    const other = factory(named('d', 'b', 'a', 'c'), undefined);
    const places = new Set<string | undefined>();
    for (let n = 0; n < 40; n += 1) {
      const place = one.pick({ key: `customer-${n}` })?.id;
      expect(other.pick({ key: `customer-${n}` })?.id).toBe(place);
      places.add(place);
    }
    expect(places.size).toBe(4);
  });

  it('takes up a new set of nodes, and none of those that are gone', () => {
    const before = factory(named('a', 'b', 'c'), undefined);
    countsOf(before, 10);
    const after = factory(named('c', 'd'), before);
    for (const id of Object.keys(countsOf(after, 50))) expect(['c', 'd']).toContain(id);
  });
});

describe('The power of two choices', () => {
  it('takes of two nodes the one where a call costs less', () => {
    const idle = candidate('idle', { latency: 5 });
    const busy = candidate('busy', { latency: 5, open: 1 });
    const slow = candidate('slow', { latency: 50 });
    expect(countsOf(p2cWith(sources())([busy, idle], undefined), 50)).toEqual({ idle: 50 });
    expect(countsOf(p2cWith(sources())([slow, busy], undefined), 50)).toEqual({ busy: 50 });
  });

  it('never takes the worst of several, and looks at two different ones each time', () => {
    const nodes = [1, 2, 3, 4].map((latency) => candidate(`after ${latency} ms`, { latency }));
    const counts = countsOf(p2cWith(sources())(nodes, undefined), 6_000);
    // Of the six pairs the best is in three, the next in two others, the third in one.
    expect(counts['after 1 ms']).toBeGreaterThan(2_850);
    expect(counts['after 2 ms']).toBeGreaterThan(1_850);
    expect(counts['after 3 ms']).toBeGreaterThan(900);
    expect(counts['after 4 ms']).toBeUndefined();
  });

  it('gives equal nodes equal chances', () => {
    const counts = countsOf(p2cWith(sources())(named('a', 'b', 'c'), undefined), 6_000);
    for (const id of ['a', 'b', 'c']) expect(Math.abs((counts[id] ?? 0) - 2_000)).toBeLessThan(150);
  });

  it('takes a heavy node for a light one that costs the same', () => {
    const light = candidate('light', { latency: 5 });
    const heavy = candidate('heavy', { latency: 5, weight: 2 });
    expect(countsOf(p2cWith(sources())([light, heavy], undefined), 20)).toEqual({ heavy: 20 });
  });
});

describe('Random', () => {
  it('gives every node the same chance, whatever it is like', () => {
    const nodes = [candidate('a'), candidate('b', { open: 50 }), candidate('c', { latency: 500 })];
    const counts = countsOf(randomWith(sources())(nodes, undefined), 6_000);
    for (const id of ['a', 'b', 'c']) expect(Math.abs((counts[id] ?? 0) - 2_000)).toBeLessThan(150);
  });
});

describe('Weighted', () => {
  const nodes = [candidate('a', { weight: 1 }), candidate('b', { weight: 2 }), candidate('c', { weight: 4 })];

  it('gives each node its share of any number of calls, to within one call', () => {
    const picker = weighted(nodes, undefined);
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    for (let calls = 1; calls <= 500; calls += 1) {
      const id = picker.pick({})?.id ?? 'nobody';
      counts[id] = (counts[id] ?? 0) + 1;
      for (const node of nodes)
        expect(Math.abs((counts[node.id] ?? 0) - (calls * node.weight) / 7)).toBeLessThan(1);
    }
  });

  it('spreads the turns of a heavy node out', () => {
    const picker = weighted([candidate('light'), candidate('heavy', { weight: 3 })], undefined);
    const turns = Array.from({ length: 8 }, () => picker.pick({})?.id);
    expect(turns.join(' ')).toBe('heavy light heavy heavy heavy light heavy heavy');
  });

  it('owes nobody anything anew when the set changes', () => {
    let picker = weighted(nodes, undefined);
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    for (let n = 0; n < 70; n += 1) {
      const id = picker.pick({})?.id ?? 'nobody';
      counts[id] = (counts[id] ?? 0) + 1;
      picker = weighted(nodes, picker);
    }
    expect(counts).toEqual({ a: 10, b: 20, c: 40 });
  });
});

describe('Least open calls', () => {
  it('takes the node with the fewest open calls by its weight', () => {
    const a = candidate('a', { open: 3 });
    const b = candidate('b', { open: 2 });
    expect(leastOpen([a, b], undefined).pick({})?.id).toBe('b');
    const heavy = candidate('heavy', { open: 3, weight: 2 });
    expect(leastOpen([b, heavy], undefined).pick({})?.id).toBe('heavy');
  });

  it('gives equal nodes a turn each', () => {
    expect(countsOf(leastOpen(named('a', 'b', 'c'), undefined), 30)).toEqual({ a: 10, b: 10, c: 10 });
  });
});

describe('Bounded load', () => {
  const KEY = 'hot';

  it('lets no node have more than its share of the open calls times the factor', () => {
    const nodes = named('a', 'b', 'c', 'd');
    const picker = boundedLoad({ factor: 1.25 })(nodes, undefined);
    for (let open = 1; open <= 200; open += 1) {
      const node = picker.pick({ key: KEY });
      if (node !== undefined) node.load.open += 1;
      const most = Math.ceil((1.25 * open) / nodes.length);
      for (const { load } of nodes) expect(load.open).toBeLessThanOrEqual(most);
    }
  });

  it('gives a key the same next node each time, and its own one again as soon as there is room', () => {
    const nodes = named('a', 'b', 'c', 'd');
    const picker = boundedLoad()(nodes, undefined);
    const own = picker.pick({ key: KEY });
    if (own === undefined) throw new Error('there are nodes');
    own.load.open = 10;
    const next = new Set(Array.from({ length: 10 }, () => picker.pick({ key: KEY })?.id));
    expect(next.size).toBe(1);
    expect(next).not.toContain(own.id);
    own.load.open = 0;
    expect(picker.pick({ key: KEY })).toBe(own);
  });

  it('leaves calls without a key to the other picker', () => {
    const nodes = named('a', 'b', 'c');
    const picker = boundedLoad({ otherwise: roundRobin })(nodes, undefined);
    expect(countsOf(picker, 30)).toEqual({ a: 10, b: 10, c: 10 });
  });

  it.each([1, 0.5, NaN])('refuses the factor %p, and says what it takes', (factor) => {
    expect(() => boundedLoad({ factor })).toThrow(`factor must be a number over 1, not ${factor}`);
  });
});

describe('Zone preference', () => {
  const now = { now: (): number => 0 };
  const prefer = preferZone('here', leastOpen, { sources: now });

  it('stays in the zone as long as its nodes are not much slower', () => {
    const here = candidate('here', { zone: 'here', latency: 10, open: 20 });
    const there = candidate('there', { zone: 'there', latency: 5 });
    expect(countsOf(prefer([there, here], undefined), 20)).toEqual({ here: 20 });
  });

  it('leaves the zone when a call takes more than twice as long there', () => {
    const here = candidate('here', { zone: 'here', latency: 11 });
    const there = candidate('there', { zone: 'there', latency: 5 });
    const picker = prefer([here, there], undefined);
    expect(picker.pick({})?.id).toBe('there');
    here.load.latency = 9;
    expect(picker.pick({})?.id).toBe('here');
    there.load.latency = 0.1; // A difference as small as this is noise.
    expect(picker.pick({})?.id).toBe('here');
  });

  it('counts open calls, as long as the latency of one side is not known', () => {
    const here = candidate('here', { zone: 'here', latency: 500, open: 1 });
    const there = candidate('there', { zone: 'there' });
    const picker = prefer([here, there], undefined);
    expect(picker.pick({})?.id).toBe('here');
    here.load.open = 2;
    expect(picker.pick({})?.id).toBe('there');
  });

  it('takes any node when none is in the zone', () => {
    const nodes = [candidate('b', { zone: 'b' }), candidate('c')];
    expect(countsOf(prefer(nodes, undefined), 20)).toEqual({ b: 10, c: 10 });
  });

  it('gives a key the same node in every zone', () => {
    const nodes = ['here', 'there', 'else'].map((zone) => candidate(zone, { zone }));
    const other = preferZone('there', leastOpen, { sources: now });
    for (let n = 0; n < 20; n += 1) {
      const request = { key: `customer-${n}` };
      expect(prefer(nodes, undefined).pick(request)).toBe(other(nodes, undefined).pick(request));
    }
  });
});
