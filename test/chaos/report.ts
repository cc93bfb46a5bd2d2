/** The table of a run, as Markdown, which reads well on a terminal too. */
import type { Outcome } from './row.js';

const HEAD = ['fault', 'calls', 'failed', 'wrong', 'lost', 'duplicated', 'untrue', 'recovered after', 'met'];

/** One line for each row. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const lines = [HEAD, ...outcomes.map((outcome) => lineOf(outcome))];
  const widths = HEAD.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const written = lines.map(
    (line) => `| ${line.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`,
  );
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [written[0], rule, ...written.slice(1)].join('\n');
}

function lineOf(outcome: Outcome): string[] {
  const { title, skipped, calls, wrong, lost, duplicated, untrue, recoverMs, checks } = outcome;
  if (skipped !== undefined) return [title, ...Array.from({ length: 7 }, () => '-'), `not run: ${skipped}`];
  const counts = [wrong, lost, duplicated, untrue].map(String);
  const met = checks.filter((check) => check.met).length;
  const recovered = recoverMs === undefined ? 'never worse' : `${(recoverMs / 1_000).toFixed(1)} s`;
  return [title, String(calls), failedOf(outcome), ...counts, recovered, `${met} of ${checks.length}`];
}

/** `3: work UNAVAILABLE/unknown 3`, by what they were and how they failed. */
function failedOf({ failed }: Outcome): string {
  const kinds = Object.entries(failed).sort(([a], [b]) => a.localeCompare(b));
  const sum = kinds.reduce((total, [, count]) => total + count, 0);
  return sum === 0 ? '0' : `${sum}: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ')}`;
}
