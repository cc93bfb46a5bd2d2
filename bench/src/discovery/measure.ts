/** Measures one mesh of a given number of nodes: at rest, at joins, leaves, a crash, and a flush. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startServer } from '../servers/server.js';
import { POPULAR, type FleetCommand, type FleetReport, type NodePlan } from './fleet.js';
import { loadRegistry, recordOf } from './library.js';
import { commandsBetween, loadBetween, readStats, type RedisLoad } from './redis-stats.js';

const SERVICES = 100;
/** What each node watches: so many services, with as many nodes each as there are in a service. */
export const WATCHES = 3;
const WATCHERS = 1_000;
/** The nodes of one process: what its event loop can do without being late. A replayed one costs it a tenth. */
const NODES_PER_PROCESS = 2_500;
const REPLAYED_PER_PROCESS = 10_000;
const LEASE_MS = 10_000;

/** How long each thing took until so many of the watchers had seen it, in milliseconds. */
export interface Delays {
  readonly watchers: number;
  readonly p50: number;
  readonly p99: number;
  readonly last: number;
}

/** Everything measured for one number of nodes. */
export interface ScalePoint {
  readonly nodes: number;
  /** So many of them are registries of the library; the others are replayed. */
  readonly real: number;
  readonly nodesPerService: number;
  readonly connections: number;
  readonly memoryPerNodeBytes: number;
  /** Of the real nodes, after the replayed ones were there. */
  readonly startSeconds: number;
  /** CPU of Redis meanwhile, and what each real node asked for in all. */
  readonly start: { readonly redisCpuMs: number; readonly commandsPerNode: number };
  readonly rest: RedisLoad;
  /** Of the processes that hold the real nodes, for each of these and second, in microseconds. */
  readonly ownCpuUsPerNode: number;
  /** How late their event loops were, 99th percentile in milliseconds. */
  readonly lateMs: number;
  readonly join: Delays;
  readonly leave: Delays;
  /** From the end of the lease. */
  readonly crash: Delays;
  readonly flush: { readonly healedMs: number; readonly redisCpuMs: number; readonly lost: number };
  readonly warnings: readonly string[];
}

/** How a point is measured. */
export interface MeasureOptions {
  readonly nodes: number;
  /** At most so many are real. */
  readonly real: number;
  readonly restMs: number;
  readonly dist: string;
  /** Only at rest. */
  readonly restOnly: boolean;
}

/** Measures one point; ends everything that it started. */
export async function measurePoint(options: MeasureOptions): Promise<Partial<ScalePoint>> {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-discovery-'));
  const server = await startServer('redis', folder);
  const redis = new Redis(server.url);
  const fleets: ChildProcess[] = [];
  try {
    // Fails where the limit of open files is too low for it; then it could not be measured.
    await redis.config('SET', 'maxclients', options.nodes + 100);
    const empty = await readStats(redis);
    const plans = plansOf(options.nodes, options.real);
    const replayed = plans.filter(({ isReplayed }) => isReplayed);
    const real = plans.filter(({ isReplayed }) => !isReplayed);
    const start = async (some: readonly NodePlan[], perProcess: number): Promise<ChildProcess[]> => {
      const added = chunksOf(some, perProcess).map((nodes) => {
        const fleet = fork(join(import.meta.dirname, 'fleet.js'));
        fleets.push(fleet);
        fleet.send({ do: 'start', dist: options.dist, url: server.url, nodes } satisfies FleetCommand);
        return fleet;
      });
      await Promise.all(added.map((fleet) => once(fleet, 'message')));
      return added;
    };
    await start(replayed, REPLAYED_PER_PROCESS);
    // One interval, until all of them have written their records.
    if (replayed.length > 0) await pause(3_000);
    const startedAt = performance.now();
    const unstarted = await readStats(redis);
    const realFleets = await start(real, NODES_PER_PROCESS);
    const startSeconds = (performance.now() - startedAt) / 1_000;
    const started = await readStats(redis);
    // One lease, until what the start has left behind is over.
    await pause(5_000);
    const first = await reports(realFleets);
    const before = await readStats(redis);
    await pause(options.restMs);
    const after = await readStats(redis);
    const rest = await reports(realFleets);
    const point = {
      nodes: options.nodes,
      real: real.length,
      nodesPerService: options.nodes / SERVICES,
      connections: (after.clients - 1) / options.nodes,
      memoryPerNodeBytes: (after.memoryBytes - empty.memoryBytes) / options.nodes,
      startSeconds,
      start: {
        redisCpuMs: started.cpuMs - unstarted.cpuMs,
        commandsPerNode: commandsBetween(unstarted, started) / real.length,
      },
      rest: loadBetween(before, after, options.nodes),
      ownCpuUsPerNode: (rest.cpuMs * 1_000) / (options.restMs / 1_000) / real.length,
      lateMs: rest.lateMs,
      warnings: [...first.warnings, ...rest.warnings],
    };
    if (options.restOnly) return point;
    const watchers = Math.min(WATCHERS, real.length);
    return {
      ...point,
      ...(await changes(options.dist, server.url, redis, realFleets, watchers)),
      // A replayed node does not look again at what it watches, which is what a flush costs.
      ...(replayed.length === 0 ? await flush(redis, fleets, options.nodes) : {}),
    };
  } finally {
    for (const fleet of fleets) fleet.kill('SIGKILL');
    redis.disconnect();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Nodes spread evenly over the services; each watches three. The first real ones, up to 1,000, also are those who watch
 * the popular service.
 */
function plansOf(nodes: number, real: number): NodePlan[] {
  return Array.from({ length: nodes }, (_, at) => {
    const watches = Array.from(
      { length: WATCHES },
      (_unused, step) => `s${(at * 7 + step * 31 + 1) % SERVICES}`,
    );
    if (at < Math.min(WATCHERS, real)) watches[0] = POPULAR;
    return { service: `s${at % SERVICES}`, watches, isReplayed: at >= real };
  });
}

function chunksOf<T>(list: readonly T[], size: number): T[][] {
  const starts = Array.from({ length: Math.ceil(list.length / size) }, (_, at) => at * size);
  return starts.map((start) => list.slice(start, start + size));
}

async function reports(fleets: readonly ChildProcess[]): Promise<FleetReport> {
  const answers = fleets.map(async (fleet) => {
    const answer = once(fleet, 'message');
    fleet.send({ do: 'report' } satisfies FleetCommand);
    return ((await answer) as [FleetReport])[0];
  });
  const all = await Promise.all(answers);
  return {
    sightings: all.flatMap(({ sightings }) => sightings),
    warnings: all.flatMap(({ warnings }) => warnings),
    cpuMs: all.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    lateMs: Math.max(...all.map(({ lateMs }) => lateMs)),
  };
}

async function changes(
  dist: string,
  url: string,
  redis: Redis,
  fleets: readonly ChildProcess[],
  watchers: number,
): Promise<Pick<ScalePoint, 'join' | 'leave' | 'crash'>> {
  const openRegistry = await loadRegistry(dist);
  const registry = openRegistry(url, { logger: { warn: () => undefined, log: () => undefined } });
  await registry.connect();
  const joins: Delays[] = [];
  const leaves: Delays[] = [];
  for (let round = 0; round < 3; round += 1) {
    const record = recordOf(POPULAR);
    const joinedAt = Date.now();
    const announcement = await registry.announce(record);
    await pause(3_000);
    joins.push(delays((await reports(fleets)).sightings, record.id, true, joinedAt, watchers));
    const leftAt = Date.now();
    await announcement.withdraw();
    await pause(3_000);
    leaves.push(delays((await reports(fleets)).sightings, record.id, false, leftAt, watchers));
  }
  await registry.close();
  const victim = fork(join(import.meta.dirname, 'victim.js'), [dist, url, POPULAR]);
  const [id] = (await once(victim, 'message')) as [string];
  await pause(3_000);
  const ended = once(victim, 'exit');
  victim.kill('SIGKILL');
  await ended;
  const leaseEndsAt = Date.now() + (await redis.pttl(`mesh:service:${POPULAR}:${id}`));
  await pause(LEASE_MS + 3_000);
  const crash = delays((await reports(fleets)).sightings, id, false, leaseEndsAt, watchers);
  return { join: worst(joins), leave: worst(leaves), crash };
}

function delays(
  sightings: FleetReport['sightings'],
  id: string,
  joined: boolean,
  since: number,
  watchers: number,
): Delays {
  const times = sightings
    .filter((one) => one.id === id && one.joined === joined)
    .map(({ at }) => at - since)
    .toSorted((a, b) => a - b);
  // A watcher that saw nothing counts as one that waits for ever.
  const at = (share: number): number => times[Math.ceil(share * watchers) - 1] ?? Number.POSITIVE_INFINITY;
  return { watchers: times.length, p50: at(0.5), p99: at(0.99), last: at(1) };
}

function worst(rounds: readonly Delays[]): Delays {
  const [last] = rounds.toSorted((a, b) => b.last - a.last);
  if (last === undefined) throw new Error('no round was measured');
  return last;
}

async function flush(
  redis: Redis,
  fleets: readonly ChildProcess[],
  nodes: number,
): Promise<Pick<ScalePoint, 'flush'>> {
  await reports(fleets);
  const before = await readStats(redis);
  const flushedAt = performance.now();
  await redis.flushall();
  // Each node has its key, and there are the indexes and logs.
  while ((await redis.dbsize()) < nodes && performance.now() - flushedAt < 20_000) await pause(20);
  const healedMs = performance.now() - flushedAt;
  await pause(Math.max(0, 6_000 - healedMs));
  const after = await readStats(redis);
  const { sightings } = await reports(fleets);
  return {
    flush: {
      healedMs,
      redisCpuMs: after.cpuMs - before.cpuMs,
      lost: sightings.filter(({ joined }) => !joined).length,
    },
  };
}
