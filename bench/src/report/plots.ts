/** The plots of `docs/benchmarks/`. */
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite';
import { writeLatencyPlot } from './latency-plot.js';
import { PLOTS, type Plot } from './plot-list.js';
import { colorOf, writePlot } from './plot.js';
import { ratioOf, resultOf, type Results } from './results.js';
import { caseOf } from './targets.js';

interface Bar {
  readonly work: string;
  readonly peer: string;
  readonly ratio: number;
  readonly min: number;
  readonly max: number;
}

/** Draws all plots into a folder. Plots without measured cases are left out. */
export async function writePlots(results: Results, folder: string): Promise<void> {
  for (const plot of PLOTS) {
    const file = join(folder, plot.file);
    if (plot.group === 'latency') await writeLatencyPlot(results, file);
    else await drawBars(results, file, plot);
  }
}

async function drawBars(results: Results, file: string, { title, shows, cases, base }: Plot): Promise<void> {
  const labels = new Map(results.peers.map(({ name, label }) => [name, label]));
  const bars = cases.flatMap((name) => barsOf(results, name, base, labels));
  if (bars.length === 0) return;
  const order = [...new Set([...labels.values(), ...bars.map(({ peer }) => peer)])];
  await writePlot(file, barSpec(title, `${shows}: median of the rounds, with least and most`, bars, order));
}

function barsOf(
  results: Results,
  name: string,
  base: string | undefined,
  labels: ReadonlyMap<string, string>,
): Bar[] {
  const found = caseOf(results, name);
  if (found === undefined) return [];
  return found.results.flatMap((result) => {
    const ratio = ratioOf(result, resultOf(found, base ?? found.baseline));
    if (ratio === undefined) return [];
    const label = labels.get(result.peer) ?? result.peer;
    // Peers of two languages carry the direction in their labels, which the case says already.
    const peer = base === undefined ? label.replace(/,.*/, '') : label;
    return [{ work: found.title, peer, ratio: ratio.median, min: ratio.min, max: ratio.max }];
  });
}

function barSpec(
  title: string,
  subtitle: string,
  bars: readonly Bar[],
  order: readonly string[],
): TopLevelSpec {
  const works = [...new Set(bars.map(({ work }) => work))];
  const peers = order.filter((label) => bars.some(({ peer }) => peer === label));
  const x = {
    field: 'work',
    type: 'nominal',
    sort: works,
    title: null,
    axis: { labelAngle: 0, labelExpr: "split(datum.label, ', ')" },
  } as const;
  const xOffset = { field: 'peer', type: 'nominal', sort: peers } as const;
  const color = {
    field: 'peer',
    type: 'nominal',
    sort: peers,
    scale: { domain: peers, range: peers.map(colorOf) },
    title: null,
    legend: { orient: 'bottom', columns: 5 },
  } as const;
  return {
    title: { text: title, subtitle },
    data: { values: [...bars] },
    width: Math.max(320, works.length * Math.max(160, peers.length * 30)),
    height: 280,
    layer: [
      {
        mark: { type: 'bar' },
        encoding: { x, xOffset, y: { field: 'ratio', type: 'quantitative', title: null }, color },
      },
      {
        mark: { type: 'rule', color: '#333333' },
        encoding: { x, xOffset, y: { field: 'min', type: 'quantitative' }, y2: { field: 'max' } },
      },
      {
        mark: { type: 'text', dy: -4, baseline: 'bottom', fontSize: 9, color: '#333333' },
        encoding: {
          x,
          xOffset,
          y: { field: 'max', type: 'quantitative' },
          text: { field: 'ratio', type: 'quantitative', format: '.2~r' },
        },
      },
      { mark: { type: 'rule', strokeDash: [4, 3], color: '#333333' }, encoding: { y: { datum: 1 } } },
    ],
  };
}
