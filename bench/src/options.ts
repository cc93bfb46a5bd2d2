/** The command line of the bench. */
import { parseArgs } from 'node:util';
import { cases } from './cases/index.js';
import type { Case } from './cases/case.js';
import { peers } from './peers/index.js';
import type { Peer } from './peers/peer.js';

export const USAGE = `npm run bench [-- OPTIONS]
  --quick         fewer cases and shorter rounds: under two minutes
  --case A,B      only these cases
  --peer A,B      only these peers
  --rounds N      rounds of each case (default: 5)
  --window MS     the time of one measurement (default: 1000; with --quick 200)
  --out FILE      write the results there, as JSON
  --write         put the results into bench/results.json, and draw docs/benchmarks.md and its plots from it;
                  with --case the other cases stay as they are
  --report        measure nothing: draw docs/benchmarks.md and its plots from bench/results.json
  --list          show the names of all cases and peers, and stop`;

const LEAST_ROUNDS = 1;

/** What the user asked for. */
export interface BenchOptions {
  readonly cases: readonly Case[];
  readonly peers: readonly Peer[];
  readonly rounds: number;
  readonly windowMs: number;
  readonly quick: boolean;
  readonly write: boolean;
  readonly out: string | undefined;
  readonly report: boolean;
  readonly list: boolean;
}

/** Reads the arguments; throws with what is wrong and what may be given. */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      case: { type: 'string' },
      peer: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      window: { type: 'string' },
      out: { type: 'string' },
      write: { type: 'boolean', default: false },
      report: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  const { quick, write, list, out, report } = values;
  if (write && (quick || values.peer !== undefined)) {
    throw new Error('--write keeps whole measurements: it cannot go together with --quick or --peer');
  }
  const chosen = values.case === undefined && quick ? cases.filter((each) => each.quick === true) : cases;
  return {
    cases: select('--case', chosen, values.case),
    peers: select('--peer', peers, values.peer),
    rounds: whole('--rounds', values.rounds, LEAST_ROUNDS),
    windowMs: whole('--window', values.window ?? (quick ? '200' : '1000'), 1),
    quick,
    write,
    out,
    report,
    list,
  };
}

function select<T extends { readonly name: string }>(
  option: string,
  all: readonly T[],
  text?: string,
): readonly T[] {
  if (text === undefined) return all;
  const names = text.split(',');
  const known = all.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(`${option} names "${unknown.join('", "')}", which is none of ${known.join(', ')}`);
  }
  return all.filter(({ name }) => names.includes(name));
}

function whole(option: string, text: string, least: number): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw new Error(`${option} must be a whole number from ${least}, not "${text}"`);
}
