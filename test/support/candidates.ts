/** Candidates for pickers, without a network. */
import type { Candidate, CandidateLoad } from '../../lib/routing/picker.js';

/** A candidate whose load a test sets. */
export interface TestCandidate extends Candidate {
  readonly load: CandidateLoad & { open: number; latency: number };
}

/** An idle candidate of which nothing is known, unless it is said. */
export function candidate(
  id: string,
  {
    open = 0,
    latency = 0,
    weight = 1,
    zone,
  }: Partial<{ open: number; latency: number; weight: number; zone: string }> = {},
): TestCandidate {
  const load = {
    open,
    latency,
    latencyMs: (): number => load.latency,
    meanMs: (): number => load.latency,
    cost: (): number => (Math.max(load.latency, 0.1) * (load.open + 1)) / weight,
  };
  return { id, load, weight, zone };
}
