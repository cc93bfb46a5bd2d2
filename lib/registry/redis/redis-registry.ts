/** The registry `redis://…`: one link for all announcements and watches of this registry. */
import { MeshError } from '../../protocol/mesh-error.js';
import { LeaseRegistry, type LeaseRegistryDeps } from '../lease-registry.js';
import { takesEvents } from '../announced.js';
import type { NodeRecord } from '../node-record.js';
import type { RecordStore, StoreListener, StoreLookout, StoreSubscribers } from '../record-store.js';
import type { ServiceRegistry } from '../registry.js';
import { WarnOnce } from '../warn-once.js';
import { RedisClock } from './redis-clock.js';
import { commandError } from './redis-errors.js';
import { EVENTS_CHANNEL } from './redis-keys.js';
import { parseRegistryEvent, RedisLease } from './redis-lease.js';
import { RedisLink } from './redis-link.js';
import type { RedisSession } from './redis-session.js';
import { RedisSubscribers } from './redis-subscribers.js';
import { redisTarget, type RedisSettings, type RedisTarget } from './redis-target.js';
import { RedisWatch } from './redis-watch.js';

/** The registry in one Redis server, behind Sentinel, or in a Cluster. Nothing is connected yet. */
export function openRedisRegistry(
  url: string,
  settings: RedisSettings | undefined,
  deps: LeaseRegistryDeps,
): ServiceRegistry {
  return new LeaseRegistry(new RedisStore(redisTarget(url, settings), deps), deps);
}

class RedisStore implements RecordStore {
  private readonly session: RedisSession;
  private readonly lease: RedisLease;
  private readonly closing = new AbortController();
  private link: RedisLink | undefined;
  private links = 0;
  private listener: StoreListener | undefined;

  constructor(
    private readonly target: RedisTarget,
    private readonly deps: LeaseRegistryDeps,
  ) {
    this.session = {
      timings: deps.timings,
      logger: deps.logger,
      warnOnce: new WarnOnce(deps.logger),
      clock: new RedisClock(deps.clock),
      run: (command) => {
        if (this.link !== undefined) return this.link.run(command);
        return Promise.reject(commandError(target.url, new Error('the connection is closed')));
      },
      linkNumber: () => this.links,
      hint: (service) => this.listener?.hint(service),
    };
    this.lease = new RedisLease(this.session);
  }

  get url(): string {
    return this.target.url;
  }

  async open(listener: StoreListener): Promise<void> {
    const { timings, clock } = this.deps;
    const link = await RedisLink.open({
      target: this.target,
      timeoutMs: timings.registryTimeoutMs,
      pingEveryMs: timings.heartbeatIntervalMs,
      clock,
      signal: this.closing.signal,
      onEvent: (message) => this.heard(message),
      onNoEvents: (reason) =>
        this.session.warnOnce.warn(
          `cannot subscribe to ${EVENTS_CHANNEL}, changes are found by polling: ${reason}`,
        ),
      onLost: (reason) => {
        this.link = undefined;
        listener.lost(reason);
      },
    });
    if (this.closing.signal.aborted) {
      await link.close();
      throw new MeshError('UNAVAILABLE', 'the registry was closed', { delivery: 'not-sent' });
    }
    this.link = link;
    this.links += 1;
    this.listener = listener;
    this.session.clock.forget();
  }

  write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void> {
    return this.lease.write(record, kind);
  }

  remove(record: NodeRecord): Promise<void> {
    return this.lease.remove(record);
  }

  lookOut(service: string): StoreLookout {
    return new RedisWatch(this.session, service);
  }

  lookOutForSubscribers(): StoreSubscribers {
    return new RedisSubscribers(this.session);
  }

  async close(): Promise<void> {
    this.closing.abort();
    const link = this.link;
    this.link = undefined;
    await link?.close();
  }

  private heard(message: string): void {
    const event = parseRegistryEvent(message);
    if (event === undefined) return;
    this.listener?.hint(event.service, event.event === 'leave' ? event.id : undefined);
    if (takesEvents(event.record?.['metadata'])) this.listener?.hintSubscribers();
  }
}
