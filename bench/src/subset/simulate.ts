/** `node bench/dist/subset/simulate.js [--write]`: prints the table of docs/scaling.md; `--write` also draws its plot. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PALETTE, writePlot } from '../report/plot.js';
import type { ChoiceName } from './choices.js';
import { spreadOf, type Setting, type Spread } from './spread.js';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const PLOT = join(ROOT, 'docs', 'scaling', 'subset-spread.svg');
const LABELS: Readonly<Record<ChoiceName, string>> = {
  rendezvous: 'rendezvous hashing (nestjs-mesh)',
  rounds: 'dealt in rounds (Google)',
};

const SETTINGS: readonly Setting[] = [
  [10, 100, 20],
  [100, 100, 20],
  [1_000, 100, 20],
  [100, 1_000, 20],
  [1_000, 1_000, 20],
  [1_000, 1_000, 50],
  [10_000, 1_000, 20],
].map(([clients = 0, servers = 0, size = 0]) => ({ clients, servers, size }));

const spreads = SETTINGS.flatMap((setting) => [spreadOf('rendezvous', setting), spreadOf('rounds', setting)]);
console.log(tableOf(spreads));
if (process.argv.includes('--write')) {
  mkdirSync(join(PLOT, '..'), { recursive: true });
  await draw(spreads);
}

function tableOf(rows: readonly Spread[]): string {
  const head = [
    'clients',
    'servers',
    'subset',
    'choice',
    'clients of a server',
    'busiest / mean',
    'deviation / mean',
    'servers unused',
    'members lost at a join: mean, most',
    'at a leave: mean, most',
  ];
  const lines = rows.map((row) => [
    row.clients,
    row.servers,
    row.size,
    row.choice,
    `${row.counts[0] ?? 0} to ${row.counts.at(-1) ?? 0}, mean ${row.mean.toFixed(1)}`,
    row.most.toFixed(2),
    row.deviation.toFixed(2),
    `${(100 * row.unused).toFixed(1)} %`,
    `${row.join.mean.toFixed(2)}, ${row.join.most}`,
    `${row.leave.mean.toFixed(2)}, ${row.leave.most}`,
  ]);
  const line = (cells: readonly unknown[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n');
}

/** For each setting, the share of every server by its rank among the servers. */
function draw(rows: readonly Spread[]): Promise<void> {
  const shown = rows.filter(({ size }) => size === 20);
  const names = shown.map(
    ({ clients, servers }) =>
      `${clients.toLocaleString('en')} clients of ${servers.toLocaleString('en')} servers`,
  );
  const values = shown.flatMap(({ choice, counts, mean }, at) =>
    counts.map((count, rank) => ({
      setting: names[at],
      choice: LABELS[choice],
      servers: (100 * (rank + 1)) / counts.length,
      share: count / mean,
    })),
  );
  return writePlot(PLOT, {
    title: {
      text: 'Clients of a server, by the mean of all servers',
      subtitle: 'Subsets of 20; servers in the order of their clients. A flat line at 1 is perfectly even.',
    },
    data: { values },
    facet: { field: 'setting', type: 'nominal', title: null, sort: [...new Set(names)] },
    columns: 3,
    spec: {
      width: 220,
      height: 150,
      mark: { type: 'line', interpolate: 'step-after' },
      encoding: {
        x: { field: 'servers', type: 'quantitative', title: 'servers (%)', scale: { domain: [0, 100] } },
        y: { field: 'share', type: 'quantitative', title: 'clients / mean', scale: { zero: true } },
        color: {
          field: 'choice',
          type: 'nominal',
          scale: { domain: Object.values(LABELS), range: [PALETTE[0] ?? '', PALETTE[2] ?? ''] },
          legend: { orient: 'bottom', title: null, labelLimit: 400 },
        },
      },
    },
  });
}
