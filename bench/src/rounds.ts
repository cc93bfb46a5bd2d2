/** Runs one case: every peer once a round, in an order that moves on by one each round. */
import type { Case, Limits, Measurement } from './cases/case.js';
import { measureDrive } from './cases/measure.js';
import type { Lab } from './lab.js';
import type { Pair } from './pair.js';
import { BASELINE } from './peers/index.js';
import type { Peer } from './peers/peer.js';
import type { CaseResult } from './report/results.js';

/** Warm-up before the first round, as a share of the window of a round. */
const WARM_UP = 1;

/** What one peer has given so far. */
interface Trial {
  readonly peer: Peer;
  readonly rounds: Measurement[];
  unable?: string;
  failed?: string;
}

/** Measures a case. A peer that fails is out of it, with the reason; the others go on. */
export async function runCase(
  each: Case,
  peers: readonly Peer[],
  lab: Lab,
  rounds: number,
  limits: Limits,
): Promise<CaseResult> {
  const trials: Trial[] = takingPart(each, peers).map((peer) => ({ peer, rounds: [] }));
  for (const trial of trials) {
    const unable = each.ability && trial.peer.unable?.[each.ability];
    if (unable !== undefined) trial.unable = unable;
    else await attempt(trial, lab, (pair) => warmUp(each, pair, limits));
  }
  for (let round = 0; round < rounds; round += 1) {
    const shift = round % Math.max(1, trials.length);
    for (const trial of [...trials.slice(shift), ...trials.slice(0, shift)]) {
      if (trial.unable !== undefined || trial.failed !== undefined) continue;
      if (each.fresh === true) await lab.drop(trial.peer);
      await attempt(trial, lab, async (pair) => {
        if (each.fresh === true) await check(each, pair);
        trial.rounds.push(await measure(each, pair, limits));
      });
    }
  }
  const { name, title, group, unit, better = 'more', baseline = BASELINE } = each;
  const results = trials.map(({ peer, ...rest }) => ({ ...rest, peer: peer.name }));
  const date = new Date().toISOString().slice(0, 10);
  return { date, name, title, group, unit, better, baseline, results };
}

/** The peers of a case. */
export function takingPart({ peers: names }: Case, peers: readonly Peer[]): readonly Peer[] {
  return peers.filter(({ name, general = true }) => names?.includes(name) ?? general);
}

async function attempt(trial: Trial, lab: Lab, act: (pair: Pair) => Promise<void>): Promise<void> {
  try {
    await act(await lab.pair(trial.peer));
  } catch (error) {
    trial.failed = error instanceof Error ? error.message : String(error);
    // Whatever broke, the next case gets programs that are whole.
    await lab.drop(trial.peer);
  }
}

async function warmUp(each: Case, pair: Pair, { windowMs }: Limits): Promise<void> {
  await check(each, pair);
  if (each.fresh !== true && each.drive !== undefined)
    await measure(each, pair, { windowMs: windowMs * WARM_UP });
}

async function check(each: Case, { client }: Pair): Promise<void> {
  if (each.check !== undefined) await client.ask('check', { case: each.name });
}

function measure(each: Case, pair: Pair, limits: Limits): Promise<Measurement> {
  return each.measure?.(pair, limits) ?? measureDrive(each, pair, limits);
}
