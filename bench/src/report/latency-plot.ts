/** The plot of latencies under a fixed load: percentiles of each peer, at its own half and at the common rate. */
import type { TopLevelSpec } from 'vega-lite';
import { colorOf, writePlot } from './plot.js';
import { latencyOf, type Results } from './results.js';

const LOADS: readonly { readonly name: string; readonly title: string }[] = [
  { name: 'latency-own-half', title: 'at half of its own maximum' },
  { name: 'latency-same-rate', title: 'at half of the maximum of Nest TCP' },
];

interface Point {
  readonly load: string;
  readonly peer: string;
  readonly percentile: string;
  readonly us: number;
}

/** Draws it into a file, unless nothing of it was measured. */
export async function writeLatencyPlot(results: Results, file: string): Promise<void> {
  const points = LOADS.flatMap((load) => pointsOf(results, load));
  if (points.length === 0) return;
  const order = results.peers.map(({ label }) => label);
  await writePlot(file, spec(points, order));
}

function pointsOf(results: Results, { name, title }: (typeof LOADS)[number]): Point[] {
  const labels = new Map(results.peers.map((peer) => [peer.name, peer.label]));
  const found = results.cases.find((each) => each.name === name);
  return (found?.results ?? []).flatMap((result) => {
    const latency = latencyOf(result);
    if (latency === undefined) return [];
    const peer = labels.get(result.peer) ?? result.peer;
    return [
      { load: title, peer, percentile: '50', us: latency.p50 },
      { load: title, peer, percentile: '90', us: latency.p90 },
      { load: title, peer, percentile: '99', us: latency.p99 },
      { load: title, peer, percentile: '99.9', us: latency.p999 },
    ];
  });
}

function spec(points: readonly Point[], order: readonly string[]): TopLevelSpec {
  const peers = order.filter((label) => points.some(({ peer }) => peer === label));
  return {
    title: {
      text: 'Latency of calls of 100 B at a fixed rate',
      subtitle: 'counted from the scheduled time of each call; median of the rounds',
    },
    data: { values: [...points] },
    facet: { column: { field: 'load', type: 'nominal', title: null, sort: LOADS.map(({ title }) => title) } },
    spec: {
      width: 300,
      height: 280,
      mark: { type: 'line', point: true },
      encoding: {
        x: {
          field: 'percentile',
          type: 'ordinal',
          sort: ['50', '90', '99', '99.9'],
          title: 'percentile',
          axis: { labelAngle: 0 },
        },
        y: { field: 'us', type: 'quantitative', scale: { type: 'log' }, title: 'µs' },
        color: {
          field: 'peer',
          type: 'nominal',
          sort: peers,
          scale: { domain: peers, range: peers.map(colorOf) },
          title: null,
          legend: { orient: 'bottom', columns: 5 },
        },
      },
    },
  };
}
