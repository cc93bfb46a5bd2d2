/** Reads the logs of several services at once: looks that fall on one instant ask Redis in one command. */
import { KEPT_ENTRIES, additionOf, type LogAddition, type LogEntry } from './redis-log.js';
import { logKey } from './redis-keys.js';
import type { RedisSession } from './redis-session.js';

interface Reading {
  readonly key: string;
  readonly position: string;
  readonly resolve: (addition: LogAddition | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** For all look-outs of a registry. */
export class RedisLogReader {
  private waiting: Reading[] = [];

  constructor(private readonly session: RedisSession) {}

  /** What was added after `position`; `undefined` when it is so much that some of it may be gone from the log already. */
  read(service: string, position: string): Promise<LogAddition | undefined> {
    return new Promise((resolve, reject) => {
      if (this.waiting.length === 0) queueMicrotask(() => void this.readWaiting());
      this.waiting.push({ key: logKey(service), position, resolve, reject });
    });
  }

  private async readWaiting(): Promise<void> {
    const readings = this.waiting;
    this.waiting = [];
    try {
      if (readings.length > 1) {
        await this.readTogether(readings);
        return;
      }
    } catch {
      // Of one that may not be read all fail: then each is asked for by itself, and says so.
    }
    await Promise.all(readings.map((reading) => this.readTogether([reading]).catch(reading.reject)));
  }

  private async readTogether(readings: readonly Reading[]): Promise<void> {
    const found = await this.session.run(async (redis) => {
      // In a Cluster the logs lie on different nodes.
      if (!redis.isCluster || readings.length === 1) return entriesOf(redis, readings);
      const each = await Promise.all(readings.map((reading) => entriesOf(redis, [reading])));
      return each.flat();
    });
    const byKey = new Map(found);
    for (const { key, position, resolve } of readings) resolve(additionOf(byKey.get(key) ?? [], position));
  }
}

type Client = Parameters<Parameters<RedisSession['run']>[0]>[0];

async function entriesOf(
  redis: Client,
  readings: readonly Reading[],
): Promise<readonly (readonly [key: string, entries: readonly LogEntry[]])[]> {
  const keys = readings.map(({ key }) => key);
  const positions = readings.map(({ position }) => position);
  return (await redis.xread('COUNT', KEPT_ENTRIES, 'STREAMS', ...keys, ...positions)) ?? [];
}
