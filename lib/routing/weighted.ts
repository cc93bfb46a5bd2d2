/**
 * Round robin by weight: of `n` calls each candidate gets its share to within one call, and the turns of a heavy one are spread out
 * instead of following each other. Looks at all candidates for each call.
 *
 * Source: smooth weighted round robin of nginx (`ngx_http_upstream_round_robin.c`, 2012).
 */
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

interface Entry<Node> {
  readonly node: Node;
  /** How much it is owed. */
  credit: number;
}

class Weighted<Node extends Candidate> implements Picker<Node> {
  private readonly entries: readonly Entry<Node>[];
  private rendezvous: Rendezvous<Node> | undefined;

  constructor(candidates: readonly Node[], owed: (node: Node) => number) {
    this.entries = candidates.map((node) => ({ node, credit: owed(node) }));
  }

  pick({ key }: PickRequest): Node | undefined {
    const { entries } = this;
    if (key !== undefined)
      return (this.rendezvous ??= new Rendezvous(entries.map(({ node }) => node))).pick(key);
    let total = 0;
    let best: Entry<Node> | undefined;
    for (const entry of entries) {
      const { weight } = entry.node;
      entry.credit += weight;
      total += weight;
      if (best === undefined || entry.credit > best.credit) best = entry;
    }
    if (best === undefined) return undefined;
    best.credit -= total;
    return best.node;
  }

  creditOf(node: Node): number {
    return this.entries.find((entry) => entry.node === node)?.credit ?? 0;
  }
}

/** Each in turn, as often as its weight wants. Calls with a key go to the node that rendezvous hashing gives them. */
export const weighted: PickerFactory = <Node extends Candidate>(
  candidates: readonly Node[],
  previous: Picker<Node> | undefined,
): Picker<Node> =>
  new Weighted(candidates, (node) => (previous instanceof Weighted ? previous.creditOf(node) : 0));
