/** `bench/results.json`: everything that a run has measured, and where. */
import type { Group, Latency, Measurement } from '../cases/case.js';
import { spreadOf, type Spread } from '../statistics.js';

/** The whole file. */
export interface Results {
  readonly date: string;
  readonly command: string;
  /** The least of all cases. */
  readonly rounds: number;
  /** The least of all cases. */
  readonly windowMs: number;
  readonly machine: Machine;
  /** Versions, by name of package or program. */
  readonly versions: { readonly [name: string]: string };
  readonly peers: readonly PeerResult[];
  readonly cases: readonly CaseResult[];
}

/** Where it was measured. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
}

/** A peer; `absent` says why it was not there. */
export interface PeerResult {
  readonly name: string;
  readonly label: string;
  readonly absent?: string;
}

/** One case, with what each peer gave. */
export interface CaseResult {
  readonly date: string;
  readonly name: string;
  readonly title: string;
  readonly group: Group;
  readonly unit: string;
  readonly better: 'more' | 'less';
  readonly baseline: string;
  readonly results: readonly Result[];
}

/** One peer in one case: rounds, or `unable` (it has no such thing), or `failed` (it broke). */
export interface Result {
  readonly peer: string;
  readonly rounds: readonly Measurement[];
  readonly unable?: string;
  readonly failed?: string;
}

/** Median and spread of the values of a result. */
export function valueOf({ rounds }: Result): Spread {
  return spreadOf(rounds.map(({ value }) => value));
}

/** The same for each round's ratio to the same round of `base`; `undefined` when either has none. */
export function ratioOf(result: Result, base: Result | undefined): Spread | undefined {
  const ratios = result.rounds.flatMap(({ value }, round) => {
    const other = base?.rounds[round]?.value;
    return other === undefined ? [] : [value / other];
  });
  return ratios.length === 0 ? undefined : spreadOf(ratios);
}

/** The median over the rounds of one of its further numbers. */
export function medianOf(
  result: Result,
  pick: (round: Measurement) => number | undefined,
): number | undefined {
  const values = result.rounds.flatMap((round) => pick(round) ?? []);
  return values.length === 0 ? undefined : spreadOf(values).median;
}

/** The median of each percentile. */
export function latencyOf(result: Result): Latency | undefined {
  const pick = (name: keyof Latency): number =>
    medianOf(result, ({ latencyUs }) => latencyUs?.[name]) ?? Number.NaN;
  if (result.rounds.every(({ latencyUs }) => latencyUs === undefined)) return undefined;
  return { p50: pick('p50'), p90: pick('p90'), p99: pick('p99'), p999: pick('p999'), max: pick('max') };
}

/** What `peer` gave in a case. */
export function resultOf({ results }: CaseResult, peer: string): Result | undefined {
  return results.find((each) => each.peer === peer);
}
