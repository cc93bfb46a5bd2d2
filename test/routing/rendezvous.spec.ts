/** Rendezvous hashing: even, and as few keys move as can be. All inputs are fixed, so the bounds cannot flicker. */
import { describe, expect, it } from '@jest/globals';
import { Rendezvous } from '../../lib/routing/rendezvous.js';
import { idOf } from './node-ids.js';

const NODES = 8;
const KEYS = 20_000;

const nodes = Array.from({ length: NODES }, (_, at) => ({ id: idOf(at) }));
const keys = Array.from({ length: KEYS }, (_, at) => `customer-${at}`);

function placesOf(among: readonly { id: string }[], names: readonly string[] = keys): string[] {
  const rendezvous = new Rendezvous(among);
  return names.map((key) => rendezvous.pick(key)?.id ?? 'nowhere');
}

function countOf(places: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return counts;
}

describe('Rendezvous hashing', () => {
  it.each([
    ['keys that differ in their last digits', keys],
    ['keys that are UUIDs', keys.map((_, at) => idOf(1_000 + at))],
    ['keys of one or two characters', keys.slice(0, 8_000).map((_, at) => String.fromCharCode(0x4e00 + at))],
  ])('gives every node its share of %s, within 10 %%', (_, names) => {
    const counts = countOf(placesOf(nodes, names));
    const share = names.length / NODES;
    expect(counts.size).toBe(NODES);
    for (const count of counts.values()) {
      expect(count).toBeGreaterThan(share * 0.9);
      expect(count).toBeLessThan(share * 1.1);
    }
  });

  it('moves only the keys of a node that goes, and spreads them evenly over the others', () => {
    const gone = nodes[3]!.id;
    const before = placesOf(nodes);
    const after = placesOf(nodes.filter(({ id }) => id !== gone));
    const moved = after.filter((place, at) => place !== before[at]);
    expect(moved).toHaveLength(before.filter((place) => place === gone).length);
    const share = moved.length / (NODES - 1);
    for (const count of countOf(moved).values()) {
      expect(count).toBeGreaterThan(share * 0.8);
      expect(count).toBeLessThan(share * 1.2);
    }
  });

  it('moves to a node that comes no more than its share, and nothing between the others', () => {
    const fresh = { id: idOf(99) };
    const before = placesOf(nodes);
    const after = placesOf([...nodes, fresh]);
    const moved = after.filter((place, at) => place !== before[at]);
    expect(moved.every((place) => place === fresh.id)).toBe(true);
    expect(moved.length).toBeGreaterThan((KEYS / (NODES + 1)) * 0.9);
    expect(moved.length).toBeLessThan((KEYS / (NODES + 1)) * 1.1);
  });

  it('does not depend on the order of the nodes', () => {
    expect(placesOf(nodes.toReversed())).toEqual(placesOf(nodes));
  });

  it('takes any key, also an empty one, and gives nothing when there is no node', () => {
    expect(nodes).toContain(new Rendezvous(nodes).pick(''));
    expect(nodes).toContain(new Rendezvous(nodes).pick('__proto__'));
    expect(new Rendezvous([]).pick('key')).toBeUndefined();
  });
});
