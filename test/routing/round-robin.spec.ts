/** Round robin: everyone in turn, keys excepted. */
import { describe, expect, it } from '@jest/globals';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { candidate } from '../support/candidates.js';

const [a, b, c] = [candidate('a'), candidate('b'), candidate('c')];

function picksOf(picker: ReturnType<typeof roundRobin>, times: number): string[] {
  return Array.from({ length: times }, () => picker.pick({})?.id ?? 'nobody');
}

describe('Round robin', () => {
  it('picks every candidate equally often, in a fixed order', () => {
    const picks = picksOf(roundRobin([a, b, c], undefined), 300);
    for (const id of ['a', 'b', 'c']) expect(picks.filter((pick) => pick === id)).toHaveLength(100);
    expect(picks.slice(0, 3)).toEqual(picks.slice(3, 6));
  });

  it('goes on where it was when the set changes', () => {
    const picker = roundRobin([a, b], undefined);
    while (picker.pick({})?.id !== 'a');
    const next = roundRobin([a, b, c], picker);
    expect(picksOf(next, 3)).toEqual(['b', 'c', 'a']);
  });

  it('does not fall off the end when the set has become smaller', () => {
    const picker = roundRobin([a, b, c], undefined);
    while (picker.pick({})?.id !== 'c');
    expect(picksOf(roundRobin([a], picker), 2)).toEqual(['a', 'a']);
  });

  it('begins anywhere, so that clients which start together do not all begin with the same node', () => {
    const firsts = new Set(Array.from({ length: 200 }, () => roundRobin([a, b, c], undefined).pick({})?.id));
    expect(firsts).toEqual(new Set(['a', 'b', 'c']));
  });

  it('gives calls with the same key the same node, and takes no turn for them', () => {
    const picker = roundRobin([a, b, c], undefined);
    const first = picker.pick({})?.id;
    const keyed = new Set(Array.from({ length: 20 }, () => picker.pick({ key: 'customer-7' })?.id));
    expect(keyed.size).toBe(1);
    const order = ['a', 'b', 'c'];
    expect(picker.pick({})?.id).toBe(order[(order.indexOf(String(first)) + 1) % 3]);
  });

  it('picks nobody when there is nobody', () => {
    expect(roundRobin([], undefined).pick({})).toBeUndefined();
    expect(roundRobin([], undefined).pick({ key: 'k' })).toBeUndefined();
  });
});
