/** What the view of a service costs the node that has it: its own event loop, for services of many nodes. */
import { performance } from 'node:perf_hooks';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startServer } from '../servers/server.js';
import { loadRegistry, recordOf } from './library.js';

const ROUNDS = 5;
const LOOKS = 100;
const LEASE_MS = 600_000;

/** Milliseconds of the node's own event loop. */
export interface RefreshCost {
  readonly nodes: number;
  /** The first look, or after a flush or a reconnection: all records. Median. */
  readonly allMs: number;
  /** A look after one node has joined, until the listener is told. */
  readonly oneJoinMs: number;
  /** A look at which nothing has changed. */
  readonly restMs: number;
}

/** Measures a service of so many nodes; its records are written straight into Redis. */
export async function measureRefresh(nodes: number, dist: string): Promise<RefreshCost> {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-refresh-'));
  const server = await startServer('redis', folder);
  const redis = new Redis(server.url);
  try {
    for (let count = 0; count < nodes; count += 1_000) await write(redis, Math.min(1_000, nodes - count));
    const openRegistry = await loadRegistry(dist);
    const all: number[] = [];
    const joins: number[] = [];
    const rests: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const registry = openRegistry(server.url, { logger: { warn: () => undefined, log: () => undefined } });
      await registry.connect();
      let told: () => void = () => undefined;
      all.push(await activeMs(() => registry.watch('big', () => told()).ready));
      const watch = registry.watch('big', () => undefined);
      await pause(500);
      await write(redis, 1);
      const seen = new Promise<void>((resolve) => (told = resolve));
      joins.push(
        await activeMs(() => {
          watch.refresh();
          return seen;
        }),
      );
      const idle = await activeMs(() => pause(30 * LOOKS));
      const busy = await activeMs(async () => {
        for (let look = 0; look < LOOKS; look += 1) {
          watch.refresh();
          await pause(30);
        }
      });
      rests.push(Math.max(0, busy - idle) / LOOKS);
      await registry.close();
    }
    return { nodes, allMs: median(all), oneJoinMs: median(joins), restMs: median(rests) };
  } finally {
    redis.disconnect();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function write(redis: Redis, count: number): Promise<void> {
  const pipeline = redis.pipeline();
  for (let at = 0; at < count; at += 1) {
    const { id, host, port, metadata } = recordOf('big');
    const record = { id, service_name: 'big', host, port, metadata };
    pipeline.set(`mesh:service:big:${id}`, JSON.stringify(record), 'PX', LEASE_MS);
    pipeline.zadd('mesh:index:big', Date.now() + LEASE_MS, id);
    if (count === 1) pipeline.xadd('mesh:changes:big', '*', 'ids', id);
  }
  await pipeline.exec();
}

/** The time in which the event loop was busy meanwhile. */
async function activeMs(task: () => Promise<unknown>): Promise<number> {
  const before = performance.eventLoopUtilization();
  await task();
  return performance.eventLoopUtilization(before).active;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
