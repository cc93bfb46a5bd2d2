/**
 * The nodes of a service in the order in which one client wants them, by rendezvous hashing of its id and theirs: the first few of
 * them are its subset. A node that joins or leaves changes at most one member; clients need to know nothing of each other.
 *
 * Sources: Thaler and Ravishankar, 1998 (see rendezvous.ts). Google's deterministic subsetting ("Site Reliability Engineering",
 * chapter 20) is even to one client for each server, but needs the clients to be numbered without gaps, and deals anew when
 * the number of servers changes. Twitter's deterministic aperture gives clients and servers places on a ring: as even, but each client must
 * know how many there are of its own kind. Without such knowledge no choice is more even than this one: docs/adr/0017.
 */
import { hashOf, seedOf, weightOf, type Identified } from './rendezvous.js';

interface Entry<Node> {
  readonly node: Node;
  readonly weight: number;
}

/** Iterates from the most wanted node to the least. */
export class Ranking<Node extends Identified> implements Iterable<Node> {
  private entries: Entry<Node>[] = [];
  private sorted = true;
  private readonly seed: number;

  /** `client`: the id of who chooses. */
  constructor(client: string) {
    this.seed = seedOf(client);
  }

  get size(): number {
    return this.entries.length;
  }

  /** Takes in a node that is not there yet. */
  add(node: Node): void {
    this.entries.push({ node, weight: this.weightOf(node) });
    this.sorted = false;
  }

  /** Takes out the node, if it is there. */
  delete(node: Node): void {
    const entries = this.inOrder();
    const at = placeOf(entries, { node, weight: this.weightOf(node) });
    if (entries[at]?.node === node) entries.splice(at, 1);
  }

  /** The `count` most wanted nodes among those that `accepts` holds for. */
  first(count: number, accepts: (node: Node) => boolean): Node[] {
    const nodes: Node[] = [];
    for (const { node } of this.inOrder()) {
      if (nodes.length >= count) break;
      if (accepts(node)) nodes.push(node);
    }
    return nodes;
  }

  /** True when `node` is wanted more than `other`. */
  prefers(node: Node, other: Node): boolean {
    return byWeight({ node, weight: this.weightOf(node) }, { node: other, weight: this.weightOf(other) }) < 0;
  }

  *[Symbol.iterator](): Iterator<Node> {
    for (const { node } of this.inOrder()) yield node;
  }

  private weightOf({ id }: Node): number {
    return weightOf(this.seed, hashOf(id));
  }

  private inOrder(): Entry<Node>[] {
    if (!this.sorted) {
      this.sorted = true;
      // What was there is in order already, which the sort makes use of.
      this.entries.sort(byWeight);
    }
    return this.entries;
  }
}

/** The heavier first; nodes of the same weight by their ids, so that the order in which they came does not count. */
function byWeight(a: Entry<Identified>, b: Entry<Identified>): number {
  if (a.weight !== b.weight) return b.weight - a.weight;
  return a.node.id > b.node.id ? -1 : a.node.id < b.node.id ? 1 : 0;
}

/** Where it is, or would be. */
function placeOf(entries: readonly Entry<Identified>[], wanted: Entry<Identified>): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && byWeight(entry, wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
