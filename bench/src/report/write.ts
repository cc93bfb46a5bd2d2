/** Writes what the repository keeps of a run: its JSON files, `docs/benchmarks.md` and its plots. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { cases } from '../cases/index.js';
import { MICRO_FILE, type MicroResults } from '../micro/results.js';
import { PROFILE_FILE, type Profile } from '../profile/results.js';
import { fillMarkers } from './markdown.js';
import { pageParts } from './page.js';
import { writePlots } from './plots.js';
import type { Results } from './results.js';

const BENCH = join(import.meta.dirname, '..', '..');
const DOCS = join(BENCH, '..', 'docs');
/** The results that the repository keeps. */
export const RESULTS_FILE = join(BENCH, 'results.json');

/** Writes results as JSON, as Prettier does. */
export function writeJson(file: string, results: Results | MicroResults | Profile): void {
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
}

/** The results that the repository keeps; `undefined` before the first run. */
export function keptResults(): Results | undefined {
  return readJson<Results>(RESULTS_FILE);
}

function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes the page and the plots from the results. */
export async function writePage(results: Results): Promise<void> {
  const plots = join(DOCS, 'benchmarks');
  mkdirSync(plots, { recursive: true });
  await writePlots(results, plots);
  fillPage(results);
}

/** Makes the page from what the repository keeps, and leaves the plots. Throws before the first run with `--write`. */
export function writeTables(): void {
  const results = keptResults();
  if (results === undefined) throw new Error('There is no bench/results.json yet: run with --write first.');
  fillPage(results);
}

function fillPage(results: Results): void {
  const page = join(DOCS, 'benchmarks.md');
  const parts = pageParts(results, readJson<MicroResults>(MICRO_FILE), readJson<Profile>(PROFILE_FILE));
  writeFileSync(page, fillMarkers(readFileSync(page, 'utf8'), parts));
}

/**
 * Puts the cases of `fresh` into the place of the same cases in `kept`. Throws when the rest was measured elsewhere or with
 * other versions, since a page must not mix them.
 */
export function mergedResults(kept: Results | undefined, fresh: Results): Results {
  if (kept === undefined) return fresh;
  if (!isDeepStrictEqual([kept.machine, kept.versions], [fresh.machine, fresh.versions])) {
    throw new Error(
      'bench/results.json is from another machine or other versions: run all cases with --write',
    );
  }
  const byName = new Map([...kept.cases, ...fresh.cases].map((each) => [each.name, each]));
  const peers = new Map([...kept.peers, ...fresh.peers].map((each) => [each.name, each]));
  const order = cases.map(({ name }) => name);
  return {
    ...kept,
    command: 'npm run bench -- --write --case CASE',
    rounds: Math.min(kept.rounds, fresh.rounds),
    windowMs: Math.min(kept.windowMs, fresh.windowMs),
    peers: [...peers.values()],
    cases: [...byName.values()].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)),
  };
}
