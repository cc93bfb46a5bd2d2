/** A registry made of any store of records: heartbeats, look-outs, reconnecting and status are the same for all. */
import { MeshError } from '../protocol/mesh-error.js';
import { Lookout } from './lookout.js';
import { faultOfNodeRecord, type NodeRecord } from './node-record.js';
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
import { StatusBoard } from './status-board.js';
import { SubscriberLookout } from './subscriber-lookout.js';

/** What a registry is made with. */
export interface LeaseRegistryDeps {
  readonly timings: RegistryTimings;
  readonly logger: RegistryLogger;
  readonly clock: RegistryClock;
}

/** The first pause before the store is dialled again; it doubles up to one heartbeat interval, with full jitter. */
const FIRST_REDIAL_MS = 100;

/** The {@link ServiceRegistry} over a {@link RecordStore}. */
export class LeaseRegistry implements ServiceRegistry {
  private readonly board: StatusBoard;
  private readonly lookouts = new Map<string, Lookout>();
  private subscribers: SubscriberLookout | undefined;
  private readonly announcements = new Map<string, StandingAnnouncement | 'pending'>();
  /** Announcements whose first write is under way. */
  private readonly arrivals = new Set<Promise<Announcement>>();
  private open = false;
  private wasOpen = false;
  private opening: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private cancelRedial: (() => void) | undefined;
  private failedDials = 0;

  constructor(
    private readonly store: RecordStore,
    private readonly deps: LeaseRegistryDeps,
  ) {
    this.board = new StatusBoard(store.url, deps.logger, deps.clock);
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

  async connect(): Promise<void> {
    if (this.closing !== undefined) throw this.closedError();
    if (this.open) return;
    this.opening ??= this.dial().finally(() => (this.opening = undefined));
    await this.opening;
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
    if (this.closing !== undefined) throw this.closedError();
    const lookout = this.lookouts.get(service) ?? this.lookOut(service);
    const watch = lookout.add(listener);
    this.openForWatch();
    return watch;
  }

  watchSubscribers(listener: SubscriberListener): Watch {
    if (this.closing !== undefined) throw this.closedError();
    this.subscribers ??= this.lookOutForSubscribers();
    const watch = this.subscribers.add(listener);
    this.openForWatch();
    return watch;
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  /** A failure is on the board, and since somebody watches, the store is dialled again. */
  private openForWatch(): void {
    if (!this.open) this.connect().catch(() => undefined);
  }

  private async arrive(key: string, record: NodeRecord): Promise<Announcement> {
    try {
      await this.connect();
      await this.store.write(record, 'join');
      if (this.closing !== undefined) throw this.closedError();
    } catch (error) {
      this.announcements.delete(key);
      if (this.open) await this.store.remove(record).catch(() => undefined);
      throw MeshError.from(error, 'UNAVAILABLE', { delivery: 'not-sent' });
    }
    const standing = this.standingAnnouncement(key, record);
    this.announcements.set(key, standing);
    return standing;
  }

  private async dial(): Promise<void> {
    this.cancelRedial?.();
    let lostAtOnce: string | undefined;
    let opened = false;
    try {
      await this.store.open({
        lost: (reason) => {
          if (opened) this.lost(reason);
          else lostAtOnce = reason;
        },
        hint: (service, leftId) => this.lookouts.get(service)?.hint(leftId),
        hintSubscribers: () => this.subscribers?.hint(),
      });
    } catch (error) {
      if (this.closing !== undefined) throw this.closedError();
      const fault = MeshError.from(error, 'UNAVAILABLE', { delivery: 'not-sent' });
      if (this.wasOpen || this.lookouts.size > 0 || this.subscribers !== undefined) this.failedToDial(fault);
      throw fault;
    }
    if (this.closing !== undefined) throw this.closedError();
    opened = true;
    this.wasOpen = true;
    this.open = true;
    // Lost in the same breath as it was opened.
    if (lostAtOnce !== undefined) {
      this.lost(lostAtOnce);
      throw new MeshError('UNAVAILABLE', lostAtOnce, { delivery: 'not-sent' });
    }
    this.failedDials = 0;
    this.board.good('connection');
    for (const announcement of this.announcements.values()) {
      if (announcement !== 'pending') announcement.beatSoon();
    }
    for (const lookout of this.lookouts.values()) lookout.hint();
    this.subscribers?.hint();
  }

  private lost(reason: string): void {
    if (!this.open || this.closing !== undefined) return;
    this.open = false;
    this.failedDials += 1;
    this.board.fault('connection', reason);
    this.redialLater();
  }

  private failedToDial(fault: MeshError): void {
    this.failedDials += 1;
    this.board.fault('connection', reasonOf(fault));
    this.redialLater();
  }

  private redialLater(): void {
    const { timings, clock } = this.deps;
    const ceiling = Math.min(
      timings.heartbeatIntervalMs,
      FIRST_REDIAL_MS * 2 ** Math.min(this.failedDials, 20),
    );
    this.cancelRedial?.();
    this.cancelRedial = clock.setTimer(clock.random() * ceiling, () => {
      this.connect().catch(() => undefined);
    });
  }

  private lookOut(service: string): Lookout {
    const idle = (): void => {
      this.lookouts.delete(service);
      void lookout.close();
    };
    const lookout = new Lookout(this.store.lookOut(service), this.lookoutOwner(`look ${service}`, idle));
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
      isOpen: () => this.open,
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
      isOpen: () => this.open,
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
    this.cancelRedial?.();
    // Ends a dial that is under way; where the store is open, it is still needed to withdraw.
    if (!this.open) await this.store.close();
    await Promise.allSettled(this.arrivals);
    const announcements = [...this.announcements.values()].filter((one) => one !== 'pending');
    await Promise.all(announcements.map((announcement) => announcement.withdraw()));
    await Promise.all([...this.lookouts.values()].map((lookout) => lookout.close()));
    await this.subscribers?.close();
    this.lookouts.clear();
    this.open = false;
    await this.store.close();
    await this.opening?.catch(() => undefined);
    this.board.reset();
  }

  private closedError(): MeshError {
    return new MeshError('FAILED_PRECONDITION', `the registry ${this.url} was closed; open a new one`, {
      delivery: 'not-sent',
    });
  }
}

/** The bare reason where a store gives one: the status and its log line name the registry themselves. */
function reasonOf(error: unknown): string {
  if (!MeshError.is(error)) return error instanceof Error ? error.message : String(error);
  const reason = error.details?.['reason'];
  return typeof reason === 'string' ? reason : error.rawMessage;
}
