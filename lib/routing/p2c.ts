/**
 * The power of two choices: of two candidates by chance, the one where a call costs less (peak latency times open calls, by weight).
 * Nearly as even as the best of all, at the price of two looks, and without the herds that rush to the one best node.
 *
 * Sources: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001; the cost is that of
 * Finagle's `P2CPeakEwma`.
 */
import type { Candidate, Picker, PickerFactory, PickRequest } from './picker.js';
import { Rendezvous } from './rendezvous.js';

/** Where chance and time come from. */
export interface PickerSources {
  /** From 0 up to, and without, 1. */
  readonly random: () => number;
  /** In ms, on the clock of `performance.now()`. */
  readonly now: () => number;
}

export const REAL_SOURCES: PickerSources = { random: Math.random, now: () => performance.now() };

class PowerOfTwoChoices<Node extends Candidate> implements Picker<Node> {
  private rendezvous: Rendezvous<Node> | undefined;

  constructor(
    private readonly candidates: readonly Node[],
    private readonly sources: PickerSources,
  ) {}

  pick({ key }: PickRequest): Node | undefined {
    const { candidates, sources } = this;
    if (key !== undefined) return (this.rendezvous ??= new Rendezvous(candidates)).pick(key);
    const { length } = candidates;
    if (length < 2) return candidates[0];
    const first = Math.floor(sources.random() * length);
    // Another one than the first, each with the same chance.
    const step = 1 + Math.floor(sources.random() * (length - 1));
    const one = candidates[first];
    const other = candidates[(first + step) % length];
    if (one === undefined || other === undefined) return one ?? other;
    const now = sources.now();
    return one.load.cost(now) <= other.load.cost(now) ? one : other;
  }
}

/** {@link p2c} with chance and time of a test. */
export function p2cWith(sources: PickerSources): PickerFactory {
  return <Node extends Candidate>(candidates: readonly Node[]): Picker<Node> =>
    new PowerOfTwoChoices(candidates, sources);
}

/** The default. */
export const p2c: PickerFactory = p2cWith(REAL_SOURCES);
