/**
 * `draw.js RESULTS`: makes `docs/reliability.md` and its plots from what `npm run chaos` has counted. It stands here since the
 * benchmark has what plots are drawn with.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fillMarkers } from '../report/markdown.js';
import { timelineSpec } from './timeline-plot.js';
import type { FaultOutcome, FaultRun } from './outcome.js';
import { writePlot } from '../report/plot.js';

const DOCS = join(import.meta.dirname, '..', '..', '..', 'docs');
const PLOTS = join(DOCS, 'reliability');
const PAGE = join(DOCS, 'reliability.md');

const { command, machine, table, outcomes } = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
) as FaultRun;
mkdirSync(PLOTS, { recursive: true });
for (const outcome of outcomes)
  if (outcome.slots.length > 0) await writePlot(join(PLOTS, `${outcome.name}.svg`), timelineSpec(outcome));
const parts = new Map([
  ['setting', `Printed by \`${command}\` on ${machine}.`],
  ['table', table],
  ['rows', outcomes.map(rowOf).join('\n\n')],
]);
writeFileSync(PAGE, fillMarkers(readFileSync(PAGE, 'utf8'), parts));

function rowOf({ name, title, skipped, checks, slots }: FaultOutcome): string {
  const heading = `### ${title[0]?.toUpperCase() ?? ''}${title.slice(1)}`;
  if (skipped !== undefined) return `${heading}\n\nNot run: ${skipped}.`;
  const promises = checks.map(
    ({ promise, met, seen }) => `- ${met ? 'met' : '**not met**'}: ${promise} (${seen})`,
  );
  const plot = slots.length > 0 ? `\n\n![${title}: calls and their times](reliability/${name}.svg)` : '';
  return `${heading}\n\n${promises.join('\n')}${plot}`;
}
