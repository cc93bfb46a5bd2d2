/** What Redis counts of itself, and the difference between two such counts. */
import type { Redis } from 'ioredis';

/** Counters since the start of Redis. */
export interface RedisStats {
  readonly at: number;
  readonly cpuMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** How often a connection was read from: each is a system call. */
  readonly reads: number;
  readonly calls: ReadonlyMap<string, number>;
  readonly memoryBytes: number;
  readonly clients: number;
}

/** Reads the counters; one INFO is the only cost. */
export async function readStats(redis: Redis): Promise<RedisStats> {
  const info = await redis.info('everything');
  const number = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  const calls = [...info.matchAll(/^cmdstat_([\w|]+):calls=(\d+)/gm)];
  return {
    at: performance.now(),
    cpuMs: 1_000 * (number('used_cpu_sys') + number('used_cpu_user')),
    bytesIn: number('total_net_input_bytes'),
    bytesOut: number('total_net_output_bytes'),
    reads: number('total_reads_processed'),
    calls: new Map(calls.map(([, name = '', count]) => [name, Number(count)])),
    memoryBytes: number('used_memory'),
    clients: number('connected_clients'),
  };
}

/** How many commands Redis ran between two counts. */
export function commandsBetween(before: RedisStats, after: RedisStats): number {
  return [...callsBetween(before, after).values()].reduce((sum, count) => sum + count, 0);
}

/** What one node costs Redis in a second, and all together. */
export interface RedisLoad {
  readonly commandsPerNode: number;
  readonly readsPerNode: number;
  readonly bytesInPerNode: number;
  readonly bytesOutPerNode: number;
  /** Of one core. */
  readonly cpuPercent: number;
  /** For each command, by node and second. */
  readonly calls: { readonly [command: string]: number };
}

/** The load between two counts. */
export function loadBetween(before: RedisStats, after: RedisStats, nodes: number): RedisLoad {
  const seconds = (after.at - before.at) / 1_000;
  const rate = (count: number): number => count / seconds / nodes;
  const calls = [...callsBetween(before, after)];
  return {
    commandsPerNode: rate(commandsBetween(before, after)),
    readsPerNode: rate(after.reads - before.reads),
    bytesInPerNode: rate(after.bytesIn - before.bytesIn),
    bytesOutPerNode: rate(after.bytesOut - before.bytesOut),
    cpuPercent: (after.cpuMs - before.cpuMs) / seconds / 10,
    calls: Object.fromEntries(calls.map(([name, count]) => [name, Number(rate(count).toFixed(4))])),
  };
}

function callsBetween(before: RedisStats, after: RedisStats): Map<string, number> {
  const grown = [...after.calls]
    .filter(([name]) => name !== 'info')
    .map(([name, count]) => [name, count - (before.calls.get(name) ?? 0)] as const);
  return new Map(grown.filter(([, count]) => count > 0));
}
