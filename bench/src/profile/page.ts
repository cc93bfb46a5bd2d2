/** The profile of a call as tables: on the screen and in `docs/benchmarks.md`. */
import { markdownTable } from '../report/markdown.js';
import { LAYERS, type Layer } from './layers.js';
import type { Profile } from './results.js';

const NAMES: { readonly [layer in Layer]: string } = {
  bench: "the benchmark's own loop and handler",
  nest: 'Nest: `@nestjs/core`, `@nestjs/microservices`',
  rxjs: 'RxJS',
  'mesh-nest': 'mesh, `lib/nest`: server and client of Nest',
  'mesh-node': 'mesh, `lib/node`, `routing`, `registry`: choice of the node',
  'mesh-transport': 'mesh, `lib/transport`: calls, channels, sessions',
  'mesh-protocol': 'mesh, `lib/protocol`: frames and packets',
  json: 'JSON and UTF-8: `JSON.parse`, `JSON.stringify`',
  http2: "Node's `http2`, `net` and streams, in JavaScript",
  node: 'the rest of Node in JavaScript: ticks, promises, timers, buffers',
  other: 'other packages',
  gc: 'garbage collection',
  native: 'native code: `nghttp2`, sockets, the kernel',
  idle: '',
};

const WORKING = LAYERS.filter((layer) => layer !== 'idle');

/** The table: one line for each layer, two columns for each case. */
export function profileTable({ cases }: Profile): string {
  const sides = cases.flatMap(({ inFlight, client, server }) => {
    const many = `${inFlight.toLocaleString('en')} in flight`;
    return [
      { heading: `${many}, client`, ...client },
      { heading: `${many}, server`, ...server },
    ];
  });
  const line = (name: string, cells: readonly number[]): string[] => [name, ...cells.map(micros)];
  const rows = [
    ['µs for each call', ...sides.map(({ heading }) => heading)],
    ...WORKING.map((layer) =>
      line(
        NAMES[layer],
        sides.map(({ layers }) => layers[layer]),
      ),
    ),
    line(
      '**together**',
      sides.map(({ layers }) => WORKING.reduce((sum, layer) => sum + layers[layer], 0)),
    ),
    line(
      'waiting for the other side, `epoll` included',
      sides.map(({ layers }) => layers.idle),
    ),
    line(
      'processor time of all threads, the profiler among them',
      sides.map(({ cpuUs }) => cpuUs),
    ),
  ];
  return markdownTable(rows, [0]);
}

/** The part of the page. */
export function profilePart(profile: Profile): string {
  const { date, node, machine, seconds, intervalUs, cases } = profile;
  const rates = cases.map(
    ({ inFlight, callsPerSecond }) =>
      `${Math.round(callsPerSecond).toLocaleString('en')} calls/s with ${inFlight.toLocaleString('en')} in flight`,
  );
  const how = `Recorded on ${date} for ${seconds} s each, one sample in ${intervalUs} µs, Node ${node}, ${machine.cpu}, ${machine.cores} cores: ${rates.join(', ')}.`;
  return `${how}\n\n${profileTable(profile)}`;
}

function micros(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}
