/**
 * Rendezvous (highest random weight) hashing: a key keeps its node while that node is there, and when a node goes only
 * its own keys move.
 *
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 6(1), 1998.
 */

const { imul } = Math;

/** What can be hashed. */
export interface Identified {
  readonly id: string;
}

/** The candidates of one moment. Their ids are hashed once, so that a key costs one step for each of them. */
export class Rendezvous<Node extends Identified> {
  private readonly hashes: Int32Array;

  constructor(private readonly candidates: readonly Node[]) {
    this.hashes = Int32Array.from(candidates, ({ id }) => hashOf(id));
  }

  /** The candidate with the highest weight for `key`; `undefined` when there is none. */
  pick(key: string): Node | undefined {
    const { candidates, hashes } = this;
    const seed = seedOf(key);
    let best: Node | undefined;
    let bestWeight = -1;
    for (let at = 0; at < hashes.length; at += 1) {
      const weight = weightOf(seed, hashes[at] ?? 0);
      if (weight < bestWeight) continue;
      const candidate = candidates[at];
      if (candidate === undefined || (weight === bestWeight && best !== undefined && candidate.id < best.id))
        continue;
      best = candidate;
      bestWeight = weight;
    }
    return best;
  }

  /** All candidates, from the highest weight for `key` to the lowest. */
  ranked(key: string): readonly Node[] {
    const { candidates, hashes } = this;
    const seed = seedOf(key);
    return candidates
      .map((node, at) => ({ node, weight: weightOf(seed, hashes[at] ?? 0) }))
      .sort((a, b) => b.weight - a.weight || (a.node.id > b.node.id ? -1 : 1))
      .map(({ node }) => node);
  }
}

/** The id of a node as 32 bits: FNV-1a over UTF-16 code units. */
export function hashOf(id: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < id.length; at += 1) state = imul(state ^ id.charCodeAt(at), 0x01000193);
  return state;
}

/** A key for {@link weightOf}. */
export function seedOf(key: string): number {
  return mix(hashOf(key));
}

/** How much a key wants a node: 32 bits without a sign, by its {@link seedOf} and the {@link hashOf} of the node. */
export function weightOf(seed: number, hash: number): number {
  return mix(seed ^ hash);
}

/** The finalizer of MurmurHash3: spreads FNV's weak high bits. */
function mix(value: number): number {
  let state = value;
  state = imul(state ^ (state >>> 16), 0x85ebca6b);
  state = imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
