/** The services that take events: a sorted set beside the records, written with the heartbeats of their nodes. */
import { takesEvents } from '../announced.js';
import type { NodeRecord } from '../node-record.js';
import type { StoreSubscribers } from '../record-store.js';
import { checkServiceName } from '../service-name.js';
import { publishSubscriber } from './redis-events.js';
import { SUBSCRIBERS_KEY } from './redis-keys.js';
import { indexGraceMs, type RedisSession } from './redis-session.js';

/** Says that the service of the record takes events; for a record that announces none, nothing. */
export async function writeSubscriber(session: RedisSession, record: NodeRecord): Promise<void> {
  if (!takesEvents(record.metadata)) return;
  const { run, clock, timings } = session;
  const score = clock.now() + timings.ttlMs;
  const added = await run((redis) => redis.zadd(SUBSCRIBERS_KEY, score, record.service));
  if (added > 0) await publishSubscriber(session, record.service);
}

/** Rids the set of services that are gone. */
export async function sweepSubscribers(session: RedisSession): Promise<void> {
  const { run, clock, timings } = session;
  const before = clock.now() - 2 * indexGraceMs(timings);
  await run((redis) => redis.zremrangebyscore(SUBSCRIBERS_KEY, '-inf', before));
}

/** The look-out for them: one command for each look. */
export class RedisSubscribers implements StoreSubscribers {
  private readonly listening: Promise<void>;

  constructor(private readonly session: RedisSession) {
    this.listening = session.listen(SUBSCRIBERS_KEY);
  }

  async look(): Promise<readonly string[]> {
    const { session } = this;
    await this.listening;
    await session.clock.measure(session.run);
    const since = session.clock.now() - indexGraceMs(session.timings);
    const services = await session.run((redis) => redis.zrangebyscore(SUBSCRIBERS_KEY, since, '+inf'));
    return services.filter((service) => {
      const fault = checkServiceName(service);
      if (fault !== undefined)
        session.warnOnce.warn(`ignoring a member of ${SUBSCRIBERS_KEY} in the registry: ${fault}`);
      return fault === undefined;
    });
  }

  close(): void {
    this.session.unlisten(SUBSCRIBERS_KEY);
  }
}
