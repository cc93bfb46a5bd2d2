/** The plots of `docs/benchmarks/`. */
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite';
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
  const calls = ['calls-100b-1', 'calls-100b-16', 'calls-100b-128', 'calls-100b-1024'];
  const sizes = ['calls-100b-128', 'calls-10kb-32', 'calls-1mb-8'];
  const draw = (file: string, title: string, names: readonly string[], base: string): Promise<void> =>
    drawBars(results, join(folder, file), title, names, base);
  await draw('calls.svg', 'Calls of 100 B, by how many are in flight', calls, 'nest-tcp');
  await draw('sizes.svg', 'Calls, by size', sizes, 'nest-tcp');
  await draw('streams.svg', 'Events and response streams', ['events-100b', 'stream-64b'], 'nest-tcp');
  await draw(
    'channels.svg',
    'Request streams and raw channels',
    ['upload-64b', 'channel-64b'],
    'floor-http2',
  );
  await draw('interop.svg', 'Nest to Python and back', ['nest-to-python', 'python-to-nest'], 'python');
}

async function drawBars(
  results: Results,
  file: string,
  title: string,
  names: readonly string[],
  base: string,
): Promise<void> {
  const labels = new Map(results.peers.map(({ name, label }) => [name, label]));
  const bars = names.flatMap((name) => barsOf(results, name, base === 'python' ? undefined : base, labels));
  if (bars.length === 0) return;
  const order = [...new Set([...labels.values(), ...bars.map(({ peer }) => peer)])];
  const baseLabel = base === 'python' ? 'gRPC' : (labels.get(base) ?? base);
  await writePlot(
    file,
    barSpec(title, `ratio to ${baseLabel}: median of the rounds, with least and most`, bars, order),
  );
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
