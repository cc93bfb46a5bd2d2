/** Writes and removes records in Redis: the key of the protocol under its TTL, the index beside it, and the events. */
import { MeshError } from '../../protocol/mesh-error.js';
import { toRecordJson, toWireRecord, type NodeRecord } from '../node-record.js';
import { EVENTS_CHANNEL, indexKey, recordKey } from './redis-keys.js';
import { indexGraceMs, type RedisSession } from './redis-session.js';
import { sweepSubscribers, writeSubscriber } from './redis-subscribers.js';

/** What is published on `mesh:events`. */
export interface RegistryEvent {
  readonly event: 'join' | 'leave' | 'drain';
  readonly service: string;
  readonly id: string;
  /** The record on the wire; with `join` only. */
  readonly record?: Readonly<Record<string, unknown>>;
}

/** Every so many writes the index of a service is rid of what expired long ago. */
const SWEEP_EVERY_WRITES = 30;
/** An index that nobody sweeps any more disappears after this time. */
const INDEX_TTL_MS = 3_600_000;

/** The leases that this process holds in Redis. */
export class RedisLease {
  private writes = 0;

  constructor(private readonly session: RedisSession) {}

  /** SET with the TTL and ZADD: separate commands, since the keys may be in different slots of a Cluster. */
  async write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void> {
    const { run, clock, timings } = this.session;
    const { service, id } = record;
    await clock.measure(run);
    await Promise.all([
      run((redis) => redis.set(recordKey(service, id), toRecordJson(record), 'PX', timings.ttlMs)),
      run((redis) => redis.zadd(indexKey(service), clock.now() + timings.ttlMs, id)),
      writeSubscriber(this.session, record),
      this.writes++ % SWEEP_EVERY_WRITES === 0 ? this.sweep(service) : undefined,
    ]);
    if (kind === 'join') await this.publish({ event: 'join', service, id, record: toWireRecord(record) });
  }

  /** DEL and ZREM, then the word of it, so that whoever looks again finds the node gone. */
  async remove({ service, id }: NodeRecord): Promise<void> {
    const { run } = this.session;
    await Promise.all([
      run((redis) => redis.del(recordKey(service, id))),
      run((redis) => redis.zrem(indexKey(service), id)),
    ]);
    await this.publish({ event: 'leave', service, id });
  }

  private async sweep(service: string): Promise<void> {
    const { run, clock, timings } = this.session;
    const graceMs = indexGraceMs(timings);
    const key = indexKey(service);
    await run((redis) => redis.zremrangebyscore(key, '-inf', clock.now() - 2 * graceMs));
    await run((redis) => redis.pexpire(key, Math.max(INDEX_TTL_MS, 10 * graceMs)));
    await sweepSubscribers(this.session);
  }

  private async publish(event: RegistryEvent): Promise<void> {
    try {
      await this.session.run((redis) => redis.publish(EVENTS_CHANNEL, JSON.stringify(event)));
    } catch (error) {
      // Events only hurry the others; whoever must do without them looks at each heartbeat interval.
      const reason = MeshError.is(error) ? error.rawMessage : String(error);
      this.session.warnOnce.warn(
        `cannot publish on ${EVENTS_CHANNEL}, changes are found by polling: ${reason}`,
      );
    }
  }
}

/** Reads an event; `undefined` for anything that is none, since others may publish there too. */
export function parseRegistryEvent(message: string): RegistryEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { event, service, id, record } = value as Record<string, unknown>;
  if (event !== 'join' && event !== 'leave' && event !== 'drain') return undefined;
  if (typeof service !== 'string' || typeof id !== 'string') return undefined;
  return { event, service, id, ...(isObject(record) && { record }) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
