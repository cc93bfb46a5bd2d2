/** Writes and removes records in Redis: the key of the protocol under its TTL, the index and the log beside it. */
import { toRecordJson, toWireRecord, type NodeRecord } from '../node-record.js';
import { publishEvent } from './redis-events.js';
import { indexKey, recordKey } from './redis-keys.js';
import { addToLog } from './redis-log.js';
import { indexGraceMs, type RedisSession } from './redis-session.js';
import { sweepSubscribers, writeSubscriber } from './redis-subscribers.js';

/** Every so many writes the index of a service is rid of what expired long ago. */
const SWEEP_EVERY_WRITES = 30;
/** An index that nobody sweeps any more disappears after this time. */
const INDEX_TTL_MS = 3_600_000;

/** The leases that this process holds in Redis. */
export class RedisLease {
  private writes = 0;
  /** When each record was last written without a fault, by key. */
  private readonly writtenAt = new Map<string, number>();

  constructor(private readonly session: RedisSession) {}

  /** SET with the TTL and ZADD: separate commands, since the keys may be in different slots of a Cluster. */
  async write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void> {
    const { run, clock, timings } = this.session;
    const { service, id } = record;
    const key = recordKey(service, id);
    const writtenAt = this.writtenAt.get(key);
    this.writtenAt.delete(key);
    await clock.measure(run);
    const now = clock.now();
    // The key before the index, whose members are expected to have one.
    const [, added] = await Promise.all([
      run((redis) => redis.set(key, toRecordJson(record), 'PX', timings.ttlMs)),
      run((redis) => redis.zadd(indexKey(service), now + timings.ttlMs, id)),
      writeSubscriber(this.session, record),
      this.writes++ % SWEEP_EVERY_WRITES === 0 ? this.sweep(service) : undefined,
    ]);
    if (kind === 'join') {
      const event = { event: 'join', service, id, record: toWireRecord(record) } as const;
      await Promise.all([addToLog(this.session, service, [id]), publishEvent(this.session, event)]);
    } else if (added > 0 || writtenAt === undefined || now - writtenAt >= timings.ttlMs) {
      // Redis lost it, or others may have seen its lease end. No event: after a flush thousands come back at once.
      await addToLog(this.session, service, [id]);
    }
    this.writtenAt.set(key, now);
  }

  /** DEL and ZREM, then the word of it, so that whoever looks again finds the node gone. */
  async remove({ service, id }: NodeRecord): Promise<void> {
    const { run } = this.session;
    const key = recordKey(service, id);
    this.writtenAt.delete(key);
    await Promise.all([run((redis) => redis.del(key)), run((redis) => redis.zrem(indexKey(service), id))]);
    await Promise.all([
      addToLog(this.session, service, [id]),
      publishEvent(this.session, { event: 'leave', service, id }),
    ]);
  }

  private async sweep(service: string): Promise<void> {
    const { run, clock, timings } = this.session;
    const graceMs = indexGraceMs(timings);
    const key = indexKey(service);
    await Promise.all([
      run((redis) => redis.zremrangebyscore(key, '-inf', clock.now() - 2 * graceMs)),
      run((redis) => redis.pexpire(key, Math.max(INDEX_TTL_MS, 10 * graceMs))),
      sweepSubscribers(this.session),
    ]);
  }
}

/**
 * Takes out of the index those whose key is gone, and tells the others: the first who sees it sees it for everybody. A
 * node that lives after all is new to the index at its next heartbeat, and then says so.
 */
export async function reap(session: RedisSession, service: string, ids: readonly string[]): Promise<void> {
  const [first] = ids;
  if (first === undefined) return;
  const removed = await session.run((redis) => redis.zrem(indexKey(service), ...ids));
  if (removed === 0) return;
  await Promise.all([
    addToLog(session, service, ids),
    publishEvent(session, { event: 'expire', service, id: first }),
  ]);
}
