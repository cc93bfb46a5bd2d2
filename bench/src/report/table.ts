/** The results as text tables: one for each case. */
import type { Spread } from '../statistics.js';
import { latencyOf, medianOf, ratioOf, resultOf, valueOf, type CaseResult, type Result } from './results.js';

/** The columns of a case's table. The first is the peer's label. */
export const COLUMNS = [
  'peer',
  'median',
  'min … max',
  'ratio',
  'min … max',
  'CPU client',
  'CPU server',
  'remarks',
];

/** The cells of a case's table, one row for each peer. */
export function rowsOf(result: CaseResult, labels: ReadonlyMap<string, string>): string[][] {
  return result.results.map((each) => rowOf(result, each, labels.get(each.peer) ?? each.peer));
}

/** A table of text, columns aligned: the first to the left, numbers to the right, the last to the left. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const isText = column === 0 || column === row.length - 1;
        return isText ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
      })
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}

/** A whole case for the console. */
export function caseTable(result: CaseResult, labels: ReadonlyMap<string, string>): string {
  const base = labels.get(result.baseline) ?? result.baseline;
  const heading = `${result.title} (${result.name}): ${result.unit}, ratio to ${base}, CPU in µs each`;
  return `${heading}\n${textTable([COLUMNS, ...rowsOf(result, labels)])}`;
}

/** A number with three digits that count, or more when it is whole and large. */
export function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '';
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toPrecision(value < 1 ? 2 : 3);
}

function rowOf(inCase: CaseResult, result: Result, label: string): string[] {
  const word = result.failed === undefined ? result.unable : `FAILED: ${result.failed.split('\n')[0]}`;
  if (word !== undefined) return [label, '', '', '', '', '', '', word];
  const ratio = ratioOf(result, resultOf(inCase, inCase.baseline));
  const value = valueOf(result);
  return [
    label,
    figure(value.median),
    range(value),
    ratio === undefined ? '' : ratio.median.toFixed(2),
    ratio === undefined ? '' : `${ratio.min.toFixed(2)} … ${ratio.max.toFixed(2)}`,
    figure(medianOf(result, ({ clientCpuUs }) => clientCpuUs)),
    figure(medianOf(result, ({ serverCpuUs }) => serverCpuUs)),
    remarks(result),
  ];
}

function range({ min, max }: Spread): string {
  return `${figure(min)} … ${figure(max)}`;
}

function remarks(result: Result): string {
  const latency = latencyOf(result);
  const lost = result.rounds.reduce((sum, round) => sum + (round.lost ?? 0), 0);
  const texts = [
    latency &&
      `p50 ${figure(latency.p50)} µs, p99 ${figure(latency.p99)} µs, p99.9 ${figure(latency.p999)} µs`,
    lost > 0 && `${lost} lost`,
    ...Object.keys(result.rounds[0]?.more ?? {}).map(
      (name) => `${figure(medianOf(result, ({ more }) => more?.[name]))} ${name}`,
    ),
  ];
  return texts.filter(Boolean).join('; ');
}
