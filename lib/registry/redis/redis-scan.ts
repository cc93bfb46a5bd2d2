/**
 * Finds the peers that keep only the fixed part of the protocol, by SCAN, and adds them to the index for everybody.
 *
 * SCAN walks the whole keyspace. So each process wants one at its first look and then at every fifth (while it knows no
 * node: after 1, 2, 4, 5, 5… looks), and a time stamp in Redis makes all processes together do about as many as one.
 */
import { Cluster, type Redis } from 'ioredis';
import { parseNodeRecord } from '../node-record.js';
import { indexKey, nodeIdOfKey, recordKey, recordPattern, scanStampKey } from './redis-keys.js';
import { readMany, type RedisSession } from './redis-session.js';

const SCAN_EVERY_LOOKS = 5;
/** Keys that Redis looks at in one step: some 0.2 ms of its time. */
const SCAN_COUNT = 1_000;
/** Many processes that start together: a scan this young serves the first look of all of them. */
const FIRST_SCAN_AGE_MS = 500;

/** Scans for the records of one service. */
export class RedisScan {
  private looksSinceScan = Infinity;
  private emptyScans = 0;
  private closed = false;

  constructor(
    private readonly session: RedisSession,
    private readonly service: string,
  ) {}

  /**
   * Whether this look is to scan. Called once for each look.
   * @param stamp what {@link scanStampKey} holds
   * @param known how many nodes the index gave
   */
  isDue(stamp: string | null, known: number): boolean {
    this.looksSinceScan += 1;
    if (known > 0) this.emptyScans = 0;
    const everyLooks = known > 0 ? SCAN_EVERY_LOOKS : Math.min(2 ** this.emptyScans, SCAN_EVERY_LOOKS);
    if (this.looksSinceScan < everyLooks) return false;
    const { heartbeatIntervalMs } = this.session.timings;
    // Nine tenths, since looks are jittered: the one whose turn it is must not be taken for too early.
    const patienceMs =
      this.looksSinceScan === Infinity
        ? Math.min(FIRST_SCAN_AGE_MS, heartbeatIntervalMs / 2)
        : 0.9 * everyLooks * heartbeatIntervalMs;
    this.looksSinceScan = 0;
    if (known === 0) this.emptyScans += 1;
    return stamp === null || Math.abs(this.session.clock.now() - Number(stamp)) >= patienceMs;
  }

  /** Walks the keyspace once. Resolves with true when it added to the index. */
  async scan(fresh: ReadonlySet<string>): Promise<boolean> {
    const { session, service } = this;
    const stampTtlMs = 10 * SCAN_EVERY_LOOKS * session.timings.heartbeatIntervalMs;
    await session.run((redis) =>
      redis.set(scanStampKey(service), String(session.clock.now()), 'PX', stampTtlMs),
    );
    const ids = await this.findIds(fresh);
    const values = await readMany(
      session,
      ids.map((id) => recordKey(service, id)),
    );
    const additions: (string | number)[] = [];
    values.forEach((json, position) => {
      const id = ids[position];
      if (json === null || id === undefined) return;
      const { fault } = parseNodeRecord(json, { service, id });
      if (fault === undefined) additions.push(session.clock.now() + session.timings.ttlMs, id);
      else session.warnOnce.warn(malformed(service, id, fault));
    });
    if (additions.length === 0 || this.closed) return false;
    await session.run((redis) => redis.zadd(indexKey(service), ...additions));
    return true;
  }

  close(): void {
    this.closed = true;
  }

  private async findIds(fresh: ReadonlySet<string>): Promise<string[]> {
    const masters = await this.session.run((redis) =>
      Promise.resolve(redis instanceof Cluster ? redis.nodes('master') : [redis]),
    );
    const found = new Set<string>();
    for (const master of masters) await this.walk(master, fresh, found);
    return [...found];
  }

  private async walk(redis: Redis, fresh: ReadonlySet<string>, found: Set<string>): Promise<void> {
    const { session, service } = this;
    let cursor = '0';
    do {
      const from = cursor;
      const [next, keys] = await session.run(() =>
        redis.scan(from, 'MATCH', recordPattern(service), 'COUNT', SCAN_COUNT),
      );
      for (const key of keys) {
        const id = nodeIdOfKey(service, key);
        if (id === undefined) {
          session.warnOnce.warn(malformed(service, key.slice(0, 100), 'its key does not end in a UUID'));
        } else if (!fresh.has(id)) found.add(id);
      }
      cursor = next;
    } while (cursor !== '0' && !this.closed);
  }
}

/** The one warning about a record that cannot be used. */
export function malformed(service: string, id: string, fault: string): string {
  return `ignoring the record ${id} of the service ${service} in the registry: ${fault}`;
}
