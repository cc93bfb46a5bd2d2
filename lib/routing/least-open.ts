/**
 * The candidate with the fewest calls of this client open, by its weight; among equals each in turn. Looks at all of them for each call,
 * so it is for some dozens: {@link p2c} is for any number.
 *
 * Source: `least_conn` of nginx, with the calls of one client for the connections of a server.
 */
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

class LeastOpen<Node extends Candidate> implements Picker<Node> {
  private rendezvous: Rendezvous<Node> | undefined;

  constructor(
    private readonly candidates: readonly Node[],
    private turn: number,
  ) {}

  pick({ key }: PickRequest): Node | undefined {
    const { candidates } = this;
    if (key !== undefined) return (this.rendezvous ??= new Rendezvous(candidates)).pick(key);
    const { length } = candidates;
    let best: Node | undefined;
    let bestShare = Infinity;
    for (let step = 0; step < length; step += 1) {
      const candidate = candidates[(this.turn + step) % length];
      if (candidate === undefined) continue;
      const share = (candidate.load.open + 1) / candidate.weight;
      if (share >= bestShare) continue;
      best = candidate;
      bestShare = share;
    }
    this.turn = (this.turn + 1) % Math.max(1, length);
    return best;
  }
}

/** The node with the fewest open calls of this client. Calls with a key go to the node that rendezvous hashing gives them. */
export const leastOpen: PickerFactory = <Node extends Candidate>(candidates: readonly Node[]): Picker<Node> =>
  new LeastOpen(candidates, Math.floor(Math.random() * candidates.length));
