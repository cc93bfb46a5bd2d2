/** The parts of `docs/benchmarks.md` that come from the JSON files. */
import { GROUPS, type Group } from '../cases/case.js';
import { microPart } from '../micro/page.js';
import type { MicroResults } from '../micro/results.js';
import { profilePart } from '../profile/page.js';
import type { Profile } from '../profile/results.js';
import { markdownTable } from './markdown.js';
import { PLOTS } from './plot-list.js';
import { COLUMNS, rowsOf } from './table.js';
import { targets } from './targets.js';
import type { CaseResult, Results } from './results.js';

const NOT_MEASURED = 'Not measured yet.';

/** Each part by the name of its markers: `run`, `targets`, `micro`, `profile`, and one for each group of cases. */
export function pageParts(
  results: Results,
  micro: MicroResults | undefined,
  profile: Profile | undefined,
): Map<string, string> {
  const parts = new Map([
    ['run', runPart(results)],
    ['targets', targetsPart(results)],
    ['micro', micro === undefined ? NOT_MEASURED : microPart(micro)],
    ['profile', profile === undefined ? NOT_MEASURED : profilePart(profile)],
  ]);
  const labels = new Map(results.peers.map(({ name, label }) => [name, label]));
  for (const group of GROUPS) {
    const tables = results.cases
      .filter((each) => each.group === group)
      .map((each) => casePart(each, labels, results.date));
    const all = [...imagesOf(group, results), ...tables];
    parts.set(group, tables.length === 0 ? NOT_MEASURED : all.join('\n\n'));
  }
  return parts;
}

function imagesOf(group: Group, { cases }: Results): string[] {
  return PLOTS.filter(
    (plot) => plot.group === group && cases.some(({ name }) => plot.cases.includes(name)),
  ).map(({ file, title, shows }) => `![${title}: ${shows}](benchmarks/${file})`);
}

function runPart({ machine, versions, command, date, rounds, windowMs, peers }: Results): string {
  const { cpu, cores, memoryGb, system } = machine;
  const rows = [
    ['machine', `${cpu}, ${cores} cores, ${memoryGb} GB, ${system}`],
    [
      'command',
      `\`${command}\`, at least ${rounds} rounds of at least ${windowMs} ms for each peer and case`,
    ],
    ['date', date],
    ...Object.entries(versions),
    ...peers.flatMap(({ label, absent }) => (absent === undefined ? [] : [[label, `absent: ${absent}`]])),
  ];
  return markdownTable([['what', 'which'], ...rows], [0, 1]);
}

function targetsPart(results: Results): string {
  const rows = targets.map(({ work, wanted, judge }) => {
    const judgement = judge(results);
    const verdict = judgement?.met === true ? 'met' : '**not met**';
    return [work, wanted, judgement?.measured ?? 'not measured', judgement === undefined ? '' : verdict];
  });
  return markdownTable([['work', 'wanted', 'measured: median (min … max)', ''], ...rows], [0, 1, 2, 3]);
}

function casePart(result: CaseResult, labels: ReadonlyMap<string, string>, date: string): string {
  const { title, unit, baseline } = result;
  const rows = rowsOf(result, labels);
  // Columns that stay empty in every row say nothing.
  const kept = COLUMNS.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ''));
  const only = (row: readonly string[]): string[] => kept.map((column) => row[column] ?? '');
  const texts = kept.flatMap((column, place) =>
    column === 0 || column === COLUMNS.length - 1 ? [place] : [],
  );
  const caption = `In ${unit}; the ratio is to ${labels.get(baseline) ?? baseline}, processor time in µs for each.${result.date === date ? '' : ` Measured on ${result.date}.`}`;
  return `### ${title}\n\n${caption}\n\n${markdownTable([only(COLUMNS), ...rows.map(only)], texts)}`;
}
