/** A process with many nodes: each has its own connection, and a registry of its own unless it is replayed. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { NodeRecord, ServiceRegistry } from 'nestjs-mesh';
import { loadRegistry, recordOf } from './library.js';
import { replayNodes } from './replay.js';

/** One node: announces itself in `service` and watches `watches`. */
export interface NodePlan {
  readonly service: string;
  readonly watches: readonly string[];
  /** Without the library: it only asks Redis for what a node at rest asks. */
  readonly isReplayed: boolean;
}

/** What a fleet is told. */
export type FleetCommand =
  | { readonly do: 'start'; readonly dist: string; readonly url: string; readonly nodes: readonly NodePlan[] }
  | { readonly do: 'report' };

/** What a watch has seen: a node that came or went, at this instant (epoch ms). */
export interface Sighting {
  readonly id: string;
  readonly joined: boolean;
  readonly at: number;
}

/** What a fleet answers. */
export interface FleetReport {
  readonly sightings: readonly Sighting[];
  readonly warnings: readonly string[];
  /** CPU of this process since the last report, in milliseconds. */
  readonly cpuMs: number;
  /** How late its event loop was, 99th percentile since the last report, in milliseconds. */
  readonly lateMs: number;
}

/** The service whose joins and leaves are timed. */
export const POPULAR = 'popular';
/** So many nodes connect at one time. */
const STARTING = 16;

const registries: ServiceRegistry[] = [];
let sightings: Sighting[] = [];
let warnings: string[] = [];
let cpu = process.cpuUsage();
const delay = monitorEventLoopDelay({ resolution: 10 });
const logger = { warn: (text: string) => void warnings.push(text), log: () => undefined };

process.on('message', (command: FleetCommand) => {
  void answer(command).then((reply) => process.send?.(reply));
});
// A fleet does not outlive the bench.
process.on('disconnect', () => process.exit());

async function answer(command: FleetCommand): Promise<FleetReport> {
  if (command.do === 'start') await start(command);
  const used = process.cpuUsage(cpu);
  cpu = process.cpuUsage();
  const report = {
    sightings,
    warnings: warnings.slice(0, 10),
    cpuMs: (used.user + used.system) / 1_000,
    lateMs: delay.percentile(99) / 1e6 - 10,
  };
  sightings = [];
  warnings = [];
  delay.reset();
  delay.enable();
  return report;
}

async function start({ dist, url, nodes }: Extract<FleetCommand, { do: 'start' }>): Promise<void> {
  const openRegistry = await loadRegistry(dist);
  await replayNodes(
    url,
    nodes.filter(({ isReplayed }) => isReplayed),
  );
  const plans = nodes.filter(({ isReplayed }) => !isReplayed);
  const startOne = async (): Promise<void> => {
    for (let plan = plans.pop(); plan !== undefined; plan = plans.pop()) {
      const registry = openRegistry(url, { logger });
      registries.push(registry);
      const record = recordOf(plan.service);
      // A machine that is busy with the start of thousands can be late; a supervisor would start the node again.
      for (let isThere = false; !isThere;) {
        isThere = await registry.announce(record).then(
          () => true,
          (error: unknown) => (warnings.push(String(error)), false),
        );
      }
      const watches = plan.watches.map((service) =>
        registry.watch(service, service === POPULAR ? sightingsOf() : () => undefined),
      );
      await Promise.all(watches.map(({ ready }) => ready));
    }
  };
  await Promise.all(Array.from({ length: STARTING }, startOne));
}

function sightingsOf(): (nodes: readonly NodeRecord[]) => void {
  let known: ReadonlySet<string> | undefined;
  return (nodes) => {
    const at = Date.now();
    const ids = new Set(nodes.map(({ id }) => id));
    if (known !== undefined) {
      for (const id of ids) if (!known.has(id)) sightings.push({ id, joined: true, at });
      for (const id of known) if (!ids.has(id)) sightings.push({ id, joined: false, at });
    }
    known = ids;
  };
}
