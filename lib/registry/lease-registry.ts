/** A registry made of any store of records: heartbeats, look-outs, reconnecting and status are the same for all. */
import { MeshError } from '../protocol/mesh-error.js';
import { Lookout } from './lookout.js';
import { faultOfNodeRecord, type NodeRecord } from './node-record.js';
import { Pulse } from './pulse.js';
import type { RecordStore } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type {
  Announcement,
  RegistryLogger,
  RegistryStatus,
  RegistryTimings,
  ServiceRegistry,
  SubscriberListener,
  Watch,
  WatchListener,
} from './registry.js';
import { checkServiceName } from './service-name.js';
import { StandingAnnouncement, structuredCloneOfJson } from './standing-announcement.js';
import type { LookoutOwner } from './standing-look.js';
import { reasonOf, StatusBoard } from './status-board.js';
import { StoreLink } from './store-link.js';
import { SubscriberLookout } from './subscriber-lookout.js';

/** What a registry is made with. */
export interface LeaseRegistryDeps {
  readonly timings: RegistryTimings;
  readonly logger: RegistryLogger;
  readonly clock: RegistryClock;
}

/** The {@link ServiceRegistry} over a {@link RecordStore}. */
export class LeaseRegistry implements ServiceRegistry {
  private readonly board: StatusBoard;
  private readonly link: StoreLink;
  private readonly pulse: Pulse;
  private readonly lookouts = new Map<string, Lookout>();
  private subscribers: SubscriberLookout | undefined;
  private readonly announcements = new Map<string, StandingAnnouncement | 'pending'>();
  /** Announcements whose first write is under way. */
  private readonly arrivals = new Set<Promise<Announcement>>();
  private closing: Promise<void> | undefined;

  constructor(
    private readonly store: RecordStore,
    private readonly deps: LeaseRegistryDeps,
  ) {
    const board = new StatusBoard(store.url, deps.logger, deps.clock);
    this.board = board;
    this.pulse = new Pulse(deps.timings.heartbeatIntervalMs, deps.clock);
    this.link = new StoreLink(store, {
      ...deps,
      board,
      isWatched: () => this.lookouts.size > 0 || this.subscribers !== undefined,
      opened: () => this.opened(),
      hint: (service, leftId) => this.lookouts.get(service)?.hint(leftId),
      hintSubscribers: () => this.subscribers?.hint(),
    });
  }

  get url(): string {
    return this.store.url;
  }

  get status(): RegistryStatus {
    return this.board.status;
  }

  onStatus(listener: (status: RegistryStatus) => void): () => void {
    return this.board.onStatus(listener);
  }

  connect(): Promise<void> {
    return this.link.connect();
  }

  async announce(announced: NodeRecord): Promise<Announcement> {
    const record = { ...announced, metadata: structuredCloneOfJson(announced.metadata) };
    const fault = checkServiceName(record.service) ?? faultOfNodeRecord(record);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', `cannot announce the node: ${fault}`);
    const key = `${record.service}:${record.id}`;
    if (this.announcements.has(key)) {
      throw new MeshError(
        'ALREADY_EXISTS',
        `the node ${record.id} of ${record.service} is announced already`,
      );
    }
    this.announcements.set(key, 'pending');
    const arrival = this.arrive(key, record);
    this.arrivals.add(arrival);
    try {
      return await arrival;
    } finally {
      this.arrivals.delete(arrival);
    }
  }

  watch(service: string, listener: WatchListener): Watch {
    const fault = checkServiceName(service);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', `cannot watch: ${fault}`);
    this.link.checkNotClosed();
    const lookout = this.lookouts.get(service) ?? this.lookOut(service);
    const watch = lookout.add(listener);
    this.link.connectSoon();
    return watch;
  }

  watchSubscribers(listener: SubscriberListener): Watch {
    this.link.checkNotClosed();
    this.subscribers ??= this.lookOutForSubscribers();
    const watch = this.subscribers.add(listener);
    this.link.connectSoon();
    return watch;
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async arrive(key: string, record: NodeRecord): Promise<Announcement> {
    try {
      await this.link.connect();
      await this.store.write(record, 'join');
      this.link.checkNotClosed();
    } catch (error) {
      this.announcements.delete(key);
      if (this.link.isOpen) await this.store.remove(record).catch(() => undefined);
      throw MeshError.from(error, 'UNAVAILABLE', { delivery: 'not-sent' });
    }
    const standing = this.standingAnnouncement(key, record);
    this.announcements.set(key, standing);
    return standing;
  }

  private opened(): void {
    for (const announcement of this.announcements.values()) {
      if (announcement !== 'pending') announcement.beatSoon();
    }
    for (const lookout of this.lookouts.values()) lookout.hint();
    this.subscribers?.hint();
  }

  private lookOut(service: string): Lookout {
    const idle = (): void => {
      this.lookouts.delete(service);
      void lookout.close();
    };
    const owner = this.lookoutOwner(`look ${service}`, idle);
    const lookout = new Lookout(service, this.store.lookOut(service), owner);
    this.lookouts.set(service, lookout);
    return lookout;
  }

  private lookOutForSubscribers(): SubscriberLookout {
    const idle = (): void => {
      this.subscribers = undefined;
      void lookout.close();
    };
    const store = this.store.lookOutForSubscribers();
    const lookout = new SubscriberLookout(store, this.lookoutOwner('subscribers', idle));
    return lookout;
  }

  private lookoutOwner(subject: string, idle: () => void): LookoutOwner {
    return {
      ...this.deps,
      pulse: this.pulse,
      isOpen: () => this.link.isOpen,
      lookWorked: () => this.board.good(subject),
      lookFailed: (error) => this.board.fault(subject, reasonOf(error)),
      idle: () => {
        idle();
        this.board.drop(subject);
      },
    };
  }

  private standingAnnouncement(key: string, record: NodeRecord): StandingAnnouncement {
    const subject = `beat ${key}`;
    return new StandingAnnouncement(record, this.store, {
      ...this.deps,
      pulse: this.pulse,
      isOpen: () => this.link.isOpen,
      beatWorked: () => this.board.good(subject),
      beatFailed: (error) => this.board.fault(subject, reasonOf(error)),
      withdrawFailed: (error) => {
        this.deps.logger.warn(
          `the node ${record.id} of ${record.service} could not be withdrawn (${reasonOf(error)}); ` +
            `its record ends with its lease of ${this.deps.timings.ttlMs} ms`,
        );
      },
      withdrawn: () => {
        this.announcements.delete(key);
        this.board.drop(subject);
      },
    });
  }

  private async shutDown(): Promise<void> {
    await this.link.stopDialling();
    await Promise.allSettled(this.arrivals);
    const announcements = [...this.announcements.values()].filter((one) => one !== 'pending');
    await Promise.all(announcements.map((announcement) => announcement.withdraw()));
    await Promise.all([...this.lookouts.values()].map((lookout) => lookout.close()));
    await this.subscribers?.close();
    this.lookouts.clear();
    await this.link.close();
    this.board.reset();
  }
}
