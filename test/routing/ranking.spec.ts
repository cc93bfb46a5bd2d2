/** The subset of a client: its own, of the right size, and nearly the same when a node joins or leaves. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Ranking } from '../../lib/routing/ranking.js';
import { idOf } from './node-ids.js';

interface Node {
  readonly id: string;
}

const all = (): boolean => true;
const client = fc.uuid({ version: 4 });
const nodes = fc
  .uniqueArray(fc.uuid({ version: 4 }), { minLength: 1, maxLength: 80 })
  .map((ids) => ids.map((id) => ({ id })));
const size = fc.integer({ min: 1, max: 30 });

function rankingOf(clientId: string, among: readonly Node[]): Ranking<Node> {
  const ranking = new Ranking<Node>(clientId);
  for (const node of among) ranking.add(node);
  return ranking;
}

function subsetOf(clientId: string, among: readonly Node[], count: number): Node[] {
  return rankingOf(clientId, among).first(count, all);
}

function without<T>(from: readonly T[], left: readonly T[]): T[] {
  return from.filter((one) => !left.includes(one));
}

describe('The subset of a client', () => {
  it('has as many nodes as it may have, each once, whatever the order in which they became known', () => {
    fc.assert(
      fc.property(client, nodes, size, (id, among, count) => {
        const subset = subsetOf(id, among, count);
        expect(new Set(subset).size).toBe(Math.min(count, among.length));
        expect(subsetOf(id, among.toReversed(), count)).toEqual(subset);
      }),
    );
  });

  it('has the same nodes for every size, but for those that a larger one has beside them', () => {
    fc.assert(
      fc.property(client, nodes, size, (id, among, count) => {
        expect(subsetOf(id, among, count + 1).slice(0, count)).toEqual(subsetOf(id, among, count));
      }),
    );
  });

  it('changes by one node at most when a node joins, which takes its place only by being wanted more', () => {
    fc.assert(
      fc.property(client, nodes, fc.uuid({ version: 4 }), size, (id, among, joining, count) => {
        const ranking = rankingOf(id, among);
        const before = ranking.first(count, all);
        const joined = { id: joining };
        ranking.add(joined);
        const after = ranking.first(count, all);
        const came = without(after, before);
        expect(came.length).toBeLessThanOrEqual(1);
        if (came.length === 1) expect(came).toEqual([joined]);
        expect(without(before, after).length).toBe(before.length < count ? 0 : came.length);
      }),
    );
  });

  it('changes by nothing when a node leaves that is outside, else by the next in rank', () => {
    fc.assert(
      fc.property(client, nodes, size, fc.nat(), (id, among, count, at) => {
        const ranking = rankingOf(id, among);
        const order = [...ranking];
        const leaving = among[at % among.length]!;
        ranking.delete(leaving);
        ranking.delete({ id: 'never there' });
        const left = without(order, [leaving]);
        expect([...ranking]).toEqual(left);
        expect(ranking.first(count, all)).toEqual(left.slice(0, count));
      }),
    );
  });

  it('passes over the nodes that will not do, and takes the next in rank for them', () => {
    fc.assert(
      fc.property(client, nodes, size, fc.func(fc.boolean()), (id, among, count, accepts) => {
        const ranking = rankingOf(id, among);
        const fit = (node: Node): boolean => accepts(node.id);
        expect(ranking.first(count, fit)).toEqual([...ranking].filter(fit).slice(0, count));
      }),
    );
  });

  it('ranks a node before another exactly when it prefers it', () => {
    fc.assert(
      fc.property(client, nodes, (id, among) => {
        const ranking = rankingOf(id, among);
        const order = [...ranking];
        for (let at = 1; at < order.length; at += 1) {
          expect(ranking.prefers(order[at - 1]!, order[at]!)).toBe(true);
          expect(ranking.prefers(order[at]!, order[at - 1]!)).toBe(false);
        }
      }),
    );
  });

  it('is of no more use to some nodes than to others: shares spread as those of dice, not wider', () => {
    const servers = Array.from({ length: 100 }, (_, at) => ({ id: idOf(at) }));
    const clients = 2_000;
    const counts = new Map<Node, number>(servers.map((server) => [server, 0]));
    for (let n = 0; n < clients; n += 1) {
      for (const server of subsetOf(idOf(1_000 + n), servers, 20))
        counts.set(server, (counts.get(server) ?? 0) + 1);
    }
    const mean = (clients * 20) / servers.length;
    // The variance of a count that is the sum of independent choices, each with the chance of 20 in 100.
    const variance = mean * (1 - 20 / servers.length);
    const squares = [...counts.values()].reduce((sum, count) => sum + (count - mean) ** 2, 0);
    // Dice are outside of these bounds once in about 10^9 times, by the chi-squared distribution of 99 degrees of freedom.
    expect(squares / variance / servers.length).toBeLessThan(2.1);
    expect(squares / variance / servers.length).toBeGreaterThan(0.35);
  });
});
