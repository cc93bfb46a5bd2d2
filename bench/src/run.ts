/** The bench: `node dist/run.js`, with the options of `options.ts`. `npm run bench` prepares all that it needs. */
import { cases } from './cases/index.js';
import { absence, Lab } from './lab.js';
import { DISCOVERY_USAGE, runDiscovery } from './discovery/run.js';
import { MICRO_USAGE } from './micro/usage.js';
import { readOptions, USAGE, type BenchOptions } from './options.js';
import { peers as allPeers } from './peers/index.js';
import { machine, versions } from './report/machine.js';
import { PROFILE_USAGE, runProfile } from './profile/run.js';
import type { CaseResult, Results } from './report/results.js';
import { caseTable } from './report/table.js';
import { keptResults, mergedResults, RESULTS_FILE, writeJson, writePage } from './report/write.js';
import { runCase } from './rounds.js';

/** What is measured by an option of its own. */
const OTHERS: {
  readonly [option: string]: { readonly usage: string; run(args: readonly string[]): Promise<void> };
} = {
  '--discovery': { usage: DISCOVERY_USAGE, run: runDiscovery },
  '--profile': { usage: PROFILE_USAGE, run: runProfile },
  // It loads parts of the library, which nothing else here does.
  '--micro': { usage: MICRO_USAGE, run: async (args) => (await import('./micro/run.js')).runMicro(args) },
};

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    return say([USAGE, ...Object.values(OTHERS).map(({ usage }) => usage)].join('\n\n'), 0);
  }
  const other = Object.entries(OTHERS).find(([option]) => args.includes(option))?.[1];
  if (other !== undefined) {
    return other.run(args).then(
      () => 0,
      (error: unknown) =>
        say(`${error instanceof Error ? error.message : String(error)}\n\n${other.usage}`, 1),
    );
  }
  let options: BenchOptions;
  try {
    options = readOptions(args);
  } catch (error) {
    return say(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`, 1);
  }
  if (options.list) return say(listing(), 0);
  if (options.report) {
    const kept = keptResults();
    if (kept === undefined) return say('There is no bench/results.json yet: run with --write first.', 1);
    await writePage(kept);
    return 0;
  }
  const results = await measureAll(
    options,
    ['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' '),
  );
  if (options.out !== undefined) writeJson(options.out, results);
  if (options.write) {
    const isWhole = options.cases.length === cases.length;
    const kept = isWhole ? results : mergedResults(keptResults(), results);
    writeJson(RESULTS_FILE, kept);
    await writePage(kept);
  }
  const failed = results.cases
    .flatMap((each) => each.results)
    .filter((result) => result.failed !== undefined);
  return failed.length === 0 ? 0 : say(`${failed.length} measurements failed; see the tables.`, 1);
}

async function measureAll(options: BenchOptions, command: string): Promise<Results> {
  const peers = options.peers.map((peer) => ({ peer, absent: absence(peer) }));
  const present = peers.filter(({ absent }) => absent === undefined).map(({ peer }) => peer);
  for (const { peer, absent } of peers)
    if (absent !== undefined) console.log(`${peer.label}: absent, ${absent}\n`);
  const labels = new Map(peers.map(({ peer }) => [peer.name, peer.label]));
  const lab = new Lab();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // What was started ends with this process: see the 'exit' listeners of its makers.
    process.once(signal, () => process.exit(130));
  }
  const results: CaseResult[] = [];
  try {
    for (const each of options.cases) {
      const result = await runCase(each, present, lab, options.rounds, options);
      if (result.results.length === 0) continue;
      results.push(result);
      console.log(`${caseTable(result, labels)}\n`);
    }
  } finally {
    await lab.close();
  }
  return {
    date: new Date().toISOString().slice(0, 10),
    command,
    rounds: options.rounds,
    windowMs: options.windowMs,
    machine: machine(),
    versions: versions(),
    peers: peers.map(({ peer: { name, label }, absent }) => ({
      name,
      label,
      ...(absent === undefined ? {} : { absent }),
    })),
    cases: results,
  };
}

function listing(): string {
  const lines = (rows: readonly { name: string; text: string }[]): string =>
    rows.map(({ name, text }) => `  ${name.padEnd(24)}${text}`).join('\n');
  return [
    'Cases:',
    lines(cases.map(({ name, title }) => ({ name, text: title }))),
    'Peers:',
    lines(allPeers.map(({ name, label }) => ({ name, text: label }))),
  ].join('\n');
}

function say(text: string, code: number): number {
  (code === 0 ? console.log : console.error)(text);
  return code;
}
