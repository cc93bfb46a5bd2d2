/**
 * `main.js ROOT RESULTS [--short] [--long] [ROW...]`: runs rows one after the other, prints the table and writes the results as
 * JSON. `--long` is an hour of mixed load instead of two minutes; `--short` is the version that the test suite runs.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, release, type } from 'node:os';
import { resolve } from 'node:path';
import { tableOf } from './report.js';
import { runRow, type Outcome } from './row.js';
import { ROWS } from './rows/index.js';

const [root = '.', results = '', ...args] = process.argv.slice(2);
const names = args.filter((arg) => !arg.startsWith('--'));
const unknown = names.filter((name) => !ROWS.some((row) => row.name === name));
if (unknown.length > 0)
  throw new Error(
    `no row is called ${unknown.join(', ')}: there are ${ROWS.map(({ name }) => name).join(', ')}`,
  );
const places = { root, compiled: resolve(import.meta.dirname, '../..') };
const outcomes: Outcome[] = [];
for (const row of ROWS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  console.log(`${row.title} ...`);
  const outcome = await runRow(row, places, !args.includes('--short'));
  outcomes.push(outcome);
  for (const { promise, met, seen } of outcome.checks)
    if (!met) console.log(`  NOT MET: ${promise}: ${seen}`);
  if (args.includes('--verbose')) console.log(outcome.log);
}
const table = tableOf(outcomes);
console.log(`\n${table}`);
const command = ['npm run chaos --', ...args].join(' ').replace(/ --$/, '');
const machine = `${availableParallelism()} cores, ${type()} ${release()}, Node ${process.version}`;
writeFileSync(
  results,
  JSON.stringify({ command, machine, table, outcomes: outcomes.map((outcome) => ({ ...outcome, log: '' })) }),
);
process.exit(outcomes.every(({ checks }) => checks.every(({ met }) => met)) ? 0 : 1);
