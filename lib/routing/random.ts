/** Any candidate, each with the same chance. Source: Mitzenmacher, 2001 (see p2c.ts), where it is what two choices are held against. */
import { REAL_SOURCES, type PickerSources } from './p2c.js';
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

class RandomPicker<Node extends Candidate> implements Picker<Node> {
  private rendezvous: Rendezvous<Node> | undefined;

  constructor(
    private readonly candidates: readonly Node[],
    private readonly random: () => number,
  ) {}

  pick({ key }: PickRequest): Node | undefined {
    const { candidates } = this;
    if (key !== undefined) return (this.rendezvous ??= new Rendezvous(candidates)).pick(key);
    return candidates[Math.floor(this.random() * candidates.length)];
  }
}

/** {@link random} with the chance of a test. */
export function randomWith({ random: chance }: Pick<PickerSources, 'random'>): PickerFactory {
  return <Node extends Candidate>(candidates: readonly Node[]): Picker<Node> =>
    new RandomPicker(candidates, chance);
}

/** Any node, each with the same chance. Calls with a key go to the node that rendezvous hashing gives them. */
export const random: PickerFactory = randomWith(REAL_SOURCES);
