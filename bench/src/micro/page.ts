/** The micro-benchmarks as a table: on the screen and in `docs/benchmarks.md`. */
import { markdownTable } from '../report/markdown.js';
import { MICRO_GROUPS } from './piece.js';
import type { MicroResults } from './results.js';

/** One line for each piece, by groups. */
export function microTable({ pieces }: MicroResults): string {
  const rows = MICRO_GROUPS.flatMap((group) => pieces.filter((piece) => piece.group === group)).map(
    ({ title, p25, p50, p99, heapBytes }) => [
      title,
      nanos(p50),
      `${nanos(p25)} … ${nanos(p99)}`,
      Math.round(heapBytes).toLocaleString('en'),
    ],
  );
  return markdownTable([['step', 'median, ns', 'p25 … p99', 'heap, bytes'], ...rows], [0]);
}

/** The part of the page. */
export function microPart(results: MicroResults): string {
  const { date, node, machine } = results;
  return `Measured on ${date}, Node ${node}, ${machine.cpu}, ${machine.cores} cores.\n\n${microTable(results)}`;
}

function nanos(value: number): string {
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}
