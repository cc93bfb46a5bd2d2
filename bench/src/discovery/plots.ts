/** The plots of docs/scaling.md, drawn from `bench/discovery.json`. */
import { join } from 'node:path';
import { PALETTE, writePlot } from '../report/plot.js';
import type { DiscoveryResults } from './run.js';

/** The target of the issue, of one core. */
const CPU_TARGET = 20;

/** Draws all of them into `folder`. */
export async function plotScaling(folder: string, results: DiscoveryResults): Promise<void> {
  const labels = Object.keys(results);
  const color = {
    field: 'what',
    type: 'nominal',
    title: null,
    scale: { domain: labels, range: PALETTE.slice(0, labels.length) },
  } as const;
  const rows = labels.flatMap((what) =>
    (results[what]?.points ?? []).flatMap(({ nodes, rest }) =>
      rest === undefined
        ? []
        : [{ what, nodes, cpu: rest.cpuPercent, bytes: rest.bytesInPerNode + rest.bytesOutPerNode }],
    ),
  );
  const x = {
    field: 'nodes',
    type: 'quantitative',
    title: 'nodes in the mesh',
    axis: { grid: false },
  } as const;
  const mark = { type: 'line', point: true } as const;
  await writePlot(join(folder, 'redis-cpu.svg'), {
    title: {
      text: 'CPU of Redis at rest',
      subtitle: 'percent of one core; dashed: the target for 10,000 nodes',
    },
    width: 520,
    height: 280,
    layer: [
      {
        data: { values: rows },
        mark,
        encoding: { x, y: { field: 'cpu', type: 'quantitative', title: 'percent of a core' }, color },
      },
      {
        data: { values: [{ target: CPU_TARGET }] },
        mark: { type: 'rule', strokeDash: [4, 4] },
        encoding: { y: { field: 'target', type: 'quantitative' } },
      },
    ],
  });
  await writePlot(join(folder, 'bytes-per-node.svg'), {
    title: { text: 'Bytes between one node and Redis', subtitle: 'in a second, both ways; logarithmic' },
    data: { values: rows },
    width: 520,
    height: 280,
    mark,
    encoding: {
      x,
      y: { field: 'bytes', type: 'quantitative', title: 'bytes per second', scale: { type: 'log' } },
      color,
    },
  });
}
