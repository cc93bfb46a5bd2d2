/** `npm run bench -- --discovery`: what discovery costs in a mesh of 100 to 10,000 nodes, in a real Redis. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine } from '../report/machine.js';
import { reasonAbsent } from '../servers/server.js';
import { LIBRARY } from './library.js';
import { measurePoint, type ScalePoint } from './measure.js';
import { plotScaling } from './plots.js';
import { measureRefresh, type RefreshCost } from './refresh.js';

export const DISCOVERY_USAGE = `npm run bench -- --discovery [OPTIONS]
  --nodes A,B     the sizes of the mesh (default: 100,1000,3000,10000); none: \`0\`
  --refresh A,B   the sizes of the service whose view is read (default: 100,1000,10000); none: \`0\`
  --real N        so many nodes of them are registries of the library (default: 2000); the others only ask Redis for
                  what a node at rest asks
  --rest          only what the mesh costs at rest
  --seconds N     how long that is measured (default: 10)
  --dist DIR      the compiled library to measure (default: the packed one)
  --label TEXT    under which name the results are kept (default: now)
  --write         keep the results in bench/discovery.json and draw docs/scaling/*.svg from it`;

const RESULTS = join(import.meta.dirname, '..', '..', 'discovery.json');
const PLOTS = join(import.meta.dirname, '..', '..', '..', 'docs', 'scaling');

/** The results that are kept, by label. */
export interface DiscoveryResults {
  readonly [label: string]: {
    readonly date: string;
    readonly machine: ReturnType<typeof machine>;
    readonly points: readonly Partial<ScalePoint>[];
    readonly refresh: readonly RefreshCost[];
  };
}

/** Runs what was asked for and prints it; throws for arguments that make no sense. */
export async function runDiscovery(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      discovery: { type: 'boolean' },
      nodes: { type: 'string', default: '100,1000,3000,10000' },
      refresh: { type: 'string', default: '100,1000,10000' },
      real: { type: 'string', default: '2000' },
      rest: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '10' },
      dist: { type: 'string', default: LIBRARY },
      label: { type: 'string', default: 'now' },
      write: { type: 'boolean', default: false },
    },
  });
  const absent = reasonAbsent('redis');
  if (absent !== undefined) throw new Error(`discovery cannot be measured without Redis: ${absent}`);
  const { dist, label } = values;
  const results: DiscoveryResults = existsSync(RESULTS)
    ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as DiscoveryResults)
    : {};
  const points = [...(results[label]?.points ?? [])];
  const refresh = [...(results[label]?.refresh ?? [])];
  const real = wholes('--real', values.real)[0]!;
  const restMs = 1_000 * wholes('--seconds', values.seconds)[0]!;
  const keep = (): void => {
    const entry = { date: new Date().toISOString().slice(0, 10), machine: machine(), points, refresh };
    writeFileSync(RESULTS, `${JSON.stringify({ ...results, [label]: entry }, undefined, 2)}\n`);
  };
  for (const nodes of wholes('--nodes', values.nodes).filter((count) => count > 0)) {
    const point = await measurePoint({
      nodes,
      real: Math.min(real, nodes),
      restMs,
      dist,
      restOnly: values.rest,
    });
    console.log(JSON.stringify(point));
    replace(points, point);
    if (values.write) keep();
  }
  for (const nodes of wholes('--refresh', values.refresh).filter((count) => count > 0)) {
    const cost = await measureRefresh(nodes, dist);
    console.log(JSON.stringify(cost));
    replace(refresh, cost);
    if (values.write) keep();
  }
  if (!values.write) return;
  mkdirSync(PLOTS, { recursive: true });
  await plotScaling(PLOTS, JSON.parse(readFileSync(RESULTS, 'utf8')) as DiscoveryResults);
}

function replace<T extends { readonly nodes?: number }>(list: T[], entry: T): void {
  const at = list.findIndex(({ nodes }) => nodes === entry.nodes);
  list.splice(at === -1 ? list.length : at, at === -1 ? 0 : 1, entry);
  list.sort((a, b) => (a.nodes ?? 0) - (b.nodes ?? 0));
}

function wholes(option: string, text: string): number[] {
  return text.split(',').map((part) => {
    const value = Number(part);
    if (Number.isInteger(value) && value >= 0) return value;
    throw new Error(`${option} takes whole numbers with commas between, not ${JSON.stringify(text)}`);
  });
}
