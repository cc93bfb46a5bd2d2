/** What a set of nodes makes of the answers of a store: exact, since it has no clock and no sockets. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import {
  applyLook,
  doubtStore,
  EMPTY_NODE_SET,
  holdNodes,
  listNodes,
  releaseNode,
  type NodeSet,
} from '../../lib/registry/node-set.js';
import { newRecord } from './registry-fixture.js';

const TTL = 10_000;
const a = newRecord({ id: 'a' });
const b = newRecord({ id: 'b' });

function idsOf(set: NodeSet): string[] {
  return listNodes(set).map(({ id }) => id);
}

describe('a set of nodes', () => {
  it('is what the last look found', () => {
    const both = applyLook(EMPTY_NODE_SET, [b, a], 0);
    expect(idsOf(both)).toEqual(['a', 'b']);
    expect(idsOf(applyLook(both, [b], 1))).toEqual(['b']);
  });

  it('stays the same object when a look finds equal records, so that nobody is told of nothing', () => {
    const set = applyLook(EMPTY_NODE_SET, [a, b], 0);
    const copies = [b, a].map((record) => ({ ...record, metadata: {} }));
    expect(applyLook(set, copies, 1).nodes).toBe(set.nodes);
  });

  it.each([
    ['host', { host: '10.9.9.9' }],
    ['port', { port: 4_001 }],
    ['metadata', { metadata: { zone: 'b' } }],
  ])('changes when the %s of a node changes', (_field, fields) => {
    const set = applyLook(EMPTY_NODE_SET, [a, b], 0);
    const changed = applyLook(set, [{ ...a, ...fields }, b], 1);
    expect(changed.nodes).not.toBe(set.nodes);
    expect(changed.nodes.get('a')).toMatchObject(fields);
  });

  it('holds what it knew for one TTL after the store may have lost its records, and not longer', () => {
    const doubted = doubtStore(applyLook(EMPTY_NODE_SET, [a, b], 0), 100, TTL);
    const early = applyLook(doubted, [], 99 + TTL);
    expect(idsOf(early)).toEqual(['a', 'b']);
    expect(idsOf(applyLook(early, [], 100 + TTL))).toEqual([]);
  });

  it('holds the nodes that it is told to hold, also those that a look has removed, and not longer', () => {
    const both = applyLook(EMPTY_NODE_SET, [a, b], 0);
    const one = applyLook(both, [b], 1);
    const held = applyLook(holdNodes(one, [a, b], 100), [], 2);
    expect(idsOf(held)).toEqual(['a', 'b']);
    expect(idsOf(applyLook(releaseNode(held, 'a'), [], 3))).toEqual(['b']);
    expect(idsOf(applyLook(held, [], 100))).toEqual([]);
  });

  it('lets a node go as soon as it was seen again and then is gone', () => {
    const doubted = doubtStore(applyLook(EMPTY_NODE_SET, [a, b], 0), 100, TTL);
    const back = applyLook(doubted, [a], 200);
    expect(idsOf(back)).toEqual(['a', 'b']);
    expect(idsOf(applyLook(back, [], 300))).toEqual(['b']);
  });

  it('lets a node go at once that said it left, though the store is in doubt', () => {
    const doubted = doubtStore(applyLook(EMPTY_NODE_SET, [a, b], 0), 100, TTL);
    expect(idsOf(applyLook(releaseNode(doubted, 'a'), [], 200))).toEqual(['b']);
  });

  it('does not believe a word of leaving when the record still stands', () => {
    const set = releaseNode(applyLook(EMPTY_NODE_SET, [a], 0), 'a');
    expect(idsOf(applyLook(set, [a], 1))).toEqual(['a']);
  });

  it('agrees with the plain rule through any story of looks, doubts and leaves', () => {
    const ids = ['a', 'b', 'c', 'd'];
    const step = fc.record({
      pauseMs: fc.integer({ min: 0, max: TTL }),
      action: fc.constantFrom('look', 'look', 'doubt', 'leave'),
      ids: fc.subarray(ids),
      port: fc.constantFrom(1, 2),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let now = 0;
        let set = EMPTY_NODE_SET;
        // The plain rule: a node is known if the last look found it, or if it was known at a doubt less than a TTL
        // ago and neither was seen nor left since then.
        let known = new Map<string, NodeRecord>();
        const doubtedAt = new Map<string, number>();
        for (const { pauseMs, action, ids: chosen, port } of steps) {
          now += pauseMs;
          if (action === 'doubt') {
            set = doubtStore(set, now, TTL);
            for (const id of known.keys()) doubtedAt.set(id, now);
          } else if (action === 'leave') {
            for (const id of chosen) {
              set = releaseNode(set, id);
              doubtedAt.delete(id);
            }
          } else {
            const found = chosen.map((id) => newRecord({ id, port }));
            const before = set.nodes;
            const rest = [...known].filter(
              ([id]) => !chosen.includes(id) && now < (doubtedAt.get(id) ?? -TTL) + TTL,
            );
            const next = new Map([
              ...found.map((record): [string, NodeRecord] => [record.id, record]),
              ...rest,
            ]);
            for (const id of ids) if (chosen.includes(id) || !next.has(id)) doubtedAt.delete(id);
            set = applyLook(set, found, now);
            const same = (id: string): boolean => before.get(id)?.port === next.get(id)?.port;
            const unchanged = before.size === next.size && [...next.keys()].every(same);
            expect(set.nodes === before).toBe(unchanged);
            known = next;
          }
          expect(idsOf(set)).toEqual([...known.keys()].toSorted());
          for (const [id, record] of known) expect(set.nodes.get(id)?.port).toBe(record.port);
        }
      }),
    );
  });
});
