/** The registry `redis://…`: one link for all announcements and watches of this registry. */
import { MeshError } from '../../protocol/mesh-error.js';
import { LeaseRegistry, type LeaseRegistryDeps } from '../lease-registry.js';
import type { NodeRecord } from '../node-record.js';
import type { RecordStore, StoreListener, StoreLookout, StoreSubscribers } from '../record-store.js';
import type { ServiceRegistry } from '../registry.js';
import { WarnOnce } from '../warn-once.js';
import { RedisClock } from './redis-clock.js';
import { commandError } from './redis-errors.js';
import { parseRegistryEvent } from './redis-events.js';
import { SUBSCRIBERS_KEY } from './redis-keys.js';
import { RedisLease } from './redis-lease.js';
import { RedisLink } from './redis-link.js';
import { RedisLogReader } from './redis-log-reader.js';
import { RedisMarks } from './redis-marks.js';
import { RedisScan } from './redis-scan.js';
import type { RedisSession } from './redis-session.js';
import { RedisSubscribers } from './redis-subscribers.js';
import { redisTarget, type RedisSettings, type RedisTarget } from './redis-target.js';
import { RedisWatch, type RedisWatchDeps } from './redis-watch.js';

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
  private readonly watchDeps: RedisWatchDeps;
  /** The channels that are listened to. */
  private readonly channels = new Set<string>();

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
      listen: async (channel) => {
        this.channels.add(channel);
        await this.link?.listen(channel);
      },
      unlisten: (channel) => {
        this.channels.delete(channel);
        this.link?.unlisten(channel);
      },
    };
    const { session } = this;
    this.lease = new RedisLease(session);
    this.watchDeps = {
      session,
      marks: new RedisMarks(session),
      log: new RedisLogReader(session),
      scan: new RedisScan(session),
    };
  }

  get url(): string {
    return this.target.url;
  }

  async open(listener: StoreListener): Promise<void> {
    const { timings, clock } = this.deps;
    const channels = [...this.channels];
    const link = await RedisLink.open({
      target: this.target,
      timeoutMs: timings.registryTimeoutMs,
      pingEveryMs: timings.heartbeatIntervalMs,
      clock,
      signal: this.closing.signal,
      channels,
      onEvent: (channel, message) => this.heard(channel, message),
      onNoEvents: (channel, reason) =>
        this.session.warnOnce.warn(`cannot subscribe to ${channel}, changes are found by polling: ${reason}`),
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
    const added = [...this.channels].filter((channel) => !channels.includes(channel));
    await Promise.all(added.map((channel) => link.listen(channel)));
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
    return new RedisWatch(this.watchDeps, service);
  }

  lookOutForSubscribers(): StoreSubscribers {
    return new RedisSubscribers(this.session);
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.watchDeps.scan.close();
    const link = this.link;
    this.link = undefined;
    await link?.close();
  }

  private heard(channel: string, message: string): void {
    if (channel === SUBSCRIBERS_KEY) return this.listener?.hintSubscribers();
    const event = parseRegistryEvent(message);
    if (event !== undefined)
      this.listener?.hint(event.service, event.event === 'leave' ? event.id : undefined);
  }
}
