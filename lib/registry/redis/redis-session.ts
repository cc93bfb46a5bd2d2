/** What the parts of the Redis registry share: the one link, the clock of Redis, the timings, and whom to warn. */
import type { RegistryLogger, RegistryTimings } from '../registry.js';
import type { WarnOnce } from '../warn-once.js';
import type { RedisClock } from './redis-clock.js';
import type { RedisClient } from './redis-target.js';

/** Handed to the lease and the watches. */
export interface RedisSession {
  readonly timings: RegistryTimings;
  readonly logger: RegistryLogger;
  readonly warnOnce: WarnOnce;
  readonly clock: RedisClock;
  /** Runs one command on the link that stands; rejects with a `MeshError`. */
  readonly run: <T>(command: (redis: RedisClient) => Promise<T>) => Promise<T>;
  /** Counts the links: another number means that the connection was lost in between. */
  readonly linkNumber: () => number;
  /** Look again at `service`: a scan found something. */
  readonly hint: (service: string) => void;
  /** Hears what is published on `channel`, now and after each reconnection. Resolves when that has begun, or cannot be. */
  readonly listen: (channel: string) => Promise<void>;
  readonly unlisten: (channel: string) => void;
}

/** How long a member stays in the index after its score, in milliseconds; bridges clocks that differ and scans far apart */
export function indexGraceMs(timings: RegistryTimings): number {
  return Math.max(60_000, 10 * timings.heartbeatIntervalMs, 2 * timings.ttlMs);
}

/** Reads many keys: in chunks, and one by one on a Cluster, where each is in a slot of its own. */
export async function readMany(session: RedisSession, keys: readonly string[]): Promise<(string | null)[]> {
  const values: (string | null)[] = [];
  for (let start = 0; start < keys.length; start += READ_CHUNK) {
    const chunk = keys.slice(start, start + READ_CHUNK);
    const read = await session.run((redis) =>
      redis.isCluster ? Promise.all(chunk.map((key) => redis.get(key))) : redis.mget(chunk),
    );
    values.push(...read);
  }
  return values;
}

const READ_CHUNK = 500;
