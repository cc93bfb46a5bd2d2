/** Round robin: every candidate in turn. Calls with a key go to the node that rendezvous hashing gives them. */
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

class RoundRobinPicker<Node extends Candidate> implements Picker<Node> {
  private rendezvous: Rendezvous<Node> | undefined;

  constructor(
    private readonly candidates: readonly Node[],
    private turn: number,
  ) {}

  get position(): number {
    return this.turn;
  }

  pick({ key }: PickRequest): Node | undefined {
    if (key !== undefined) return (this.rendezvous ??= new Rendezvous(this.candidates)).pick(key);
    if (this.turn >= this.candidates.length) this.turn = 0;
    return this.candidates[this.turn++];
  }
}

/** Begins at a random candidate, so that many clients which start together do not all begin with the same node. */
export const roundRobin: PickerFactory = <Node extends Candidate>(
  candidates: readonly Node[],
  previous: Picker<Node> | undefined,
): Picker<Node> => {
  const turn =
    previous instanceof RoundRobinPicker ? previous.position : Math.floor(Math.random() * candidates.length);
  return new RoundRobinPicker(candidates, turn);
};
