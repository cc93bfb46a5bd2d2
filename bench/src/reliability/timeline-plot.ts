/** The plot of a fault: calls that were answered and that failed over time, and below it how long they took. */
import type { TopLevelSpec } from 'vega-lite';
import { PALETTE } from '../report/plot.js';
import type { FaultOutcome } from './outcome.js';

const SIZE = { width: 640, height: 150 };
/** A logarithm of a call that took no time at all is none. */
const LEAST_MS = 0.1;

export function timelineSpec({ title, slots, marks }: FaultOutcome): TopLevelSpec {
  const x = { field: 's', type: 'quantitative', title: 'seconds' } as const;
  const legend = { orient: 'bottom', columns: 4 } as const;
  const counts = slots.flatMap(({ at, answered, failed }) => [
    { s: at / 1_000, what: 'answered', count: answered },
    { s: at / 1_000, what: 'failed', count: failed },
  ]);
  const times = slots.flatMap(({ at, p50, p99 }) => [
    { s: at / 1_000, what: 'median', ms: Math.max(LEAST_MS, p50) },
    { s: at / 1_000, what: '99th percentile', ms: Math.max(LEAST_MS, p99) },
  ]);
  const moments = marks.map(({ at, label }) => ({ s: at / 1_000, label }));
  const rules = {
    data: { values: moments },
    mark: { type: 'rule' as const, strokeDash: [4, 3], color: '#333333' },
    encoding: { x },
  };
  const color = (domain: string[], range: (string | undefined)[]) =>
    ({
      field: 'what',
      type: 'nominal',
      title: null,
      legend,
      scale: { domain, range: range.map((each) => each ?? '#333333') },
    }) as const;
  return {
    title: { text: title, subtitle: 'by the moment of sending, in slots of a quarter of a second' },
    vconcat: [
      {
        ...SIZE,
        layer: [
          {
            data: { values: counts },
            mark: { type: 'line' },
            encoding: {
              x,
              y: { field: 'count', type: 'quantitative', title: 'calls' },
              color: color(['answered', 'failed'], [PALETTE[0], PALETTE[1]]),
            },
          },
          rules,
          {
            data: { values: moments },
            mark: {
              type: 'text',
              angle: 270,
              align: 'right',
              baseline: 'bottom',
              dx: -4,
              dy: -2,
              fontSize: 10,
            },
            encoding: { x, y: { value: 0 }, text: { field: 'label', type: 'nominal' } },
          },
        ],
      },
      {
        ...SIZE,
        layer: [
          {
            data: { values: times },
            mark: { type: 'line' },
            encoding: {
              x,
              y: { field: 'ms', type: 'quantitative', scale: { type: 'log' }, title: 'ms' },
              color: color(['median', '99th percentile'], [PALETTE[2], PALETTE[3]]),
            },
          },
          rules,
        ],
      },
    ],
    resolve: { scale: { color: 'independent' } },
  };
}
