/**
 * Sticky calls with a bound: a key keeps its candidate as long as that one has not more than its share of the open calls, times a factor;
 * past that the key goes to the next one in its own order, and comes back when there is room. Calls without a key go to those that
 * `otherwise` chooses.
 *
 * Source: Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018, over rendezvous hashing.
 */
import { p2c } from './p2c.js';
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

/** How far a node may be above its share, by default. */
const FACTOR = 1.25;

class BoundedLoad<Node extends Candidate> implements Picker<Node> {
  private readonly rendezvous: Rendezvous<Node>;

  constructor(
    private readonly candidates: readonly Node[],
    private readonly factor: number,
    readonly others: Picker<Node>,
  ) {
    this.rendezvous = new Rendezvous(candidates);
  }

  pick(request: PickRequest): Node | undefined {
    const { key } = request;
    if (key === undefined) return this.others.pick(request);
    const { candidates, factor, rendezvous } = this;
    let open = 1;
    for (const { load } of candidates) open += load.open;
    const most = Math.ceil((factor * open) / Math.max(1, candidates.length));
    const first = rendezvous.pick(key);
    if (first === undefined || first.load.open < most) return first;
    return rendezvous.ranked(key).find(({ load }) => load.open < most) ?? first;
  }
}

/** Sticky calls that leave a node which is too busy: it may have `factor` times its share of the open calls of this client. */
export function boundedLoad({
  factor = FACTOR,
  otherwise = p2c,
}: { readonly factor?: number; readonly otherwise?: PickerFactory } = {}): PickerFactory {
  if (!(factor > 1)) throw new RangeError(`factor must be a number over 1, not ${String(factor)}`);
  return <Node extends Candidate>(
    candidates: readonly Node[],
    previous: Picker<Node> | undefined,
  ): Picker<Node> => {
    const before = previous instanceof BoundedLoad ? (previous.others as Picker<Node>) : undefined;
    return new BoundedLoad(candidates, factor, otherwise(candidates, before));
  };
}
