/** Most nodes of a service gone at once without a word: that is the fault of the registry, most likely. */
import { describe, expect, it } from '@jest/globals';
import { MassLoss } from '../../lib/registry/mass-loss.js';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import { newRecord } from './registry-fixture.js';

const WINDOW = 10_000;
const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => newRecord({ id })) as [
  NodeRecord,
  NodeRecord,
  NodeRecord,
  NodeRecord,
];

describe('a mass loss', () => {
  it('is the loss of more nodes than are left', () => {
    expect(new MassLoss(WINDOW).note([a, b], 1, 0)).toEqual([a, b]);
    expect(new MassLoss(WINDOW).note([a, b], 2, 0)).toEqual([]);
  });

  it('is never the loss of a single node, though nobody is left', () => {
    expect(new MassLoss(WINDOW).note([a], 0, 0)).toEqual([]);
  });

  it('has also those that were lost a moment before, since leases do not end at one instant', () => {
    const losses = new MassLoss(WINDOW);
    expect(losses.note([a], 3, 0)).toEqual([]);
    expect(losses.note([b], 2, WINDOW / 2)).toEqual([]);
    expect(losses.note([c], 1, WINDOW - 1)).toEqual([a, b, c]);
  });

  it('does not count those that were lost long ago', () => {
    const losses = new MassLoss(WINDOW);
    expect(losses.note([a], 1, 0)).toEqual([]);
    expect(losses.note([b], 0, WINDOW)).toEqual([]);
  });

  it('does not count those that said that they leave, before or afterwards', () => {
    const losses = new MassLoss(WINDOW);
    losses.leaves('a', 0);
    expect(losses.note([a, b], 0, 1)).toEqual([]);
    losses.leaves('b', 2);
    expect(losses.note([c], 0, 3)).toEqual([]);
    expect(losses.note([d], 0, 4)).toEqual([c, d]);
  });
});
