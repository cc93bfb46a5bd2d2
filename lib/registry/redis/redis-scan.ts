/**
 * Finds the peers that keep only the fixed part of the protocol, by SCAN, and adds them to the indexes for everybody.
 *
 * SCAN walks the whole keyspace, whatever it looks for. So one walk serves all services, and a lock in Redis makes all
 * processes together walk about as often as one.
 */
import { Cluster, type Redis } from 'ioredis';
import { MeshError } from '../../protocol/mesh-error.js';
import { parseNodeRecord, isNodeId } from '../node-record.js';
import { checkServiceName } from '../service-name.js';
import { publishEvent } from './redis-events.js';
import { indexKey, placeOfKey, recordKey, RECORD_PATTERN, SCAN_KEY, SCAN_LOCK_KEY } from './redis-keys.js';
import { addToLog } from './redis-log.js';
import { indexGraceMs, readMany, type RedisSession } from './redis-session.js';

/** Without need, the keyspace is walked once in so many heartbeat intervals. */
export const SCAN_EVERY_LOOKS = 5;
/** Many processes that start together: a walk this young serves the first look of all of them. */
const FIRST_SCAN_AGE_MS = 500;
/** Keys that Redis looks at in one step: some 0.2 ms of its time. */
const SCAN_COUNT = 1_000;
/** How long nobody walks again, for each key in Redis: holds all walks together below 2 % of the time of Redis. */
const PAUSE_MS_PER_KEY = 0.025;

/** Walks the keyspace for all look-outs of a registry. */
export class RedisScan {
  private walking: Promise<ReadonlySet<string>> | undefined;
  private closed = false;

  constructor(private readonly session: RedisSession) {}

  /** How young a walk serves a look without one of its own, in milliseconds. */
  static firstScanAgeMs(heartbeatIntervalMs: number): number {
    return Math.min(FIRST_SCAN_AGE_MS, heartbeatIntervalMs / 2);
  }

  /**
   * Walks, unless somebody else has just begun to. Resolves with the services that got a new node. Never rejects: the
   * indexes answer without it too, and a dead link shows at the next look.
   */
  walk(): Promise<ReadonlySet<string>> {
    this.walking ??= this.tryWalk().finally(() => (this.walking = undefined));
    return this.walking;
  }

  close(): void {
    this.closed = true;
  }

  private async tryWalk(): Promise<ReadonlySet<string>> {
    try {
      return (await this.lock()) ? await this.walkMasters() : new Set();
    } catch (error) {
      const { code, rawMessage } = MeshError.from(error);
      const message = `cannot scan for peers that are not in the index: ${rawMessage}`;
      if (code === 'PERMISSION_DENIED') this.session.warnOnce.warn(message);
      else this.session.logger.debug?.(message);
      return new Set();
    }
  }

  private async lock(): Promise<boolean> {
    const { run, clock, timings } = this.session;
    const masters = await this.masters();
    const sizes = await Promise.all(masters.map((master) => run(() => master.dbsize())));
    const keys = sizes.reduce((sum, size) => sum + size, 0);
    const leastMs = RedisScan.firstScanAgeMs(timings.heartbeatIntervalMs);
    // What a walk finds must be found again before the index forgets it.
    const pauseMs = Math.min(indexGraceMs(timings) / 3, Math.max(leastMs, keys * PAUSE_MS_PER_KEY));
    const now = String(clock.now());
    const taken = await run((redis) => redis.set(SCAN_LOCK_KEY, now, 'PX', Math.ceil(pauseMs), 'NX'));
    if (taken === null) return false;
    const stampTtlMs = 10 * SCAN_EVERY_LOOKS * timings.heartbeatIntervalMs;
    await run((redis) => redis.set(SCAN_KEY, now, 'PX', stampTtlMs));
    return true;
  }

  private async walkMasters(): Promise<ReadonlySet<string>> {
    const indexes = new Indexes(this.session);
    const grown = new Set<string>();
    for (const master of await this.masters()) {
      let cursor = '0';
      do {
        const from = cursor;
        const [next, keys] = await this.session.run(() =>
          master.scan(from, 'MATCH', RECORD_PATTERN, 'COUNT', SCAN_COUNT),
        );
        for (const [service, ids] of this.idsByService(keys)) {
          if (await this.add(service, ids, await indexes.read(service))) grown.add(service);
        }
        cursor = next;
      } while (cursor !== '0' && !this.closed);
    }
    return grown;
  }

  private masters(): Promise<Redis[]> {
    return this.session.run((redis) =>
      Promise.resolve(redis instanceof Cluster ? redis.nodes('master') : [redis]),
    );
  }

  private idsByService(keys: readonly string[]): Map<string, Set<string>> {
    const found = new Map<string, Set<string>>();
    for (const key of keys) {
      const { service, id } = placeOfKey(key);
      if (!isNodeId(id) || checkServiceName(service) !== undefined) {
        const fault = 'its key does not end in a service name and a UUID';
        this.session.warnOnce.warn(malformed(service, key.slice(0, 100), fault));
        continue;
      }
      const ids = found.get(service) ?? new Set();
      found.set(service, ids.add(id));
    }
    return found;
  }

  /**
   * A score that is over says that a node does not keep the index itself: its key is read at every look. Resolves with
   * true when some of the nodes were not in the index.
   */
  private async add(service: string, ids: Iterable<string>, { scores, readAt }: IndexAt): Promise<boolean> {
    const { session } = this;
    // As of the reading: a walk that takes longer than a lease must not take everybody's for over.
    const doubtful = [...ids].filter((id) => (scores.get(id) ?? 0) <= readAt);
    if (doubtful.length === 0 || this.closed) return false;
    const keys = doubtful.map((id) => recordKey(service, id));
    const values = await readMany(session, keys);
    const live = doubtful.filter((id, at) => this.isRecord(service, id, values[at] ?? null));
    if (live.length === 0) return false;
    const members = live.flatMap((id) => [readAt, id]);
    await session.run((redis) => redis.zadd(indexKey(service), ...members));
    const added = live.filter((id) => !scores.has(id));
    const [first] = added;
    if (first === undefined) return false;
    await Promise.all([
      addToLog(session, service, added),
      publishEvent(session, { event: 'join', service, id: first }),
    ]);
    return true;
  }

  private isRecord(service: string, id: string, json: string | null): boolean {
    if (json === null) return false;
    const { fault } = parseNodeRecord(json, { service, id });
    if (fault !== undefined) this.session.warnOnce.warn(malformed(service, id, fault));
    return fault === undefined;
  }
}

/** An index, and when it was read, by the clock of Redis. */
interface IndexAt {
  readonly scores: ReadonlyMap<string, number>;
  readonly readAt: number;
}

/** The indexes as one walk found them, each read once. */
class Indexes {
  private readonly found = new Map<string, IndexAt>();

  constructor(private readonly session: RedisSession) {}

  async read(service: string): Promise<IndexAt> {
    const known = this.found.get(service);
    if (known !== undefined) return known;
    const { run, clock, timings } = this.session;
    const readAt = clock.now();
    const since = readAt - indexGraceMs(timings);
    const members = await run((redis) => redis.zrangebyscore(indexKey(service), since, '+inf', 'WITHSCORES'));
    const scores = new Map<string, number>();
    for (let at = 0; at + 1 < members.length; at += 2) scores.set(members[at] ?? '', Number(members[at + 1]));
    const index = { scores, readAt };
    this.found.set(service, index);
    return index;
  }
}

/** The one warning about a record that cannot be used. */
export function malformed(service: string, id: string, fault: string): string {
  return `ignoring the record ${id} of the service ${service} in the registry: ${fault}`;
}
