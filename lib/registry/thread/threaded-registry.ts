/** A registry whose announcements are kept alive by a thread of their own, so that a blocked event loop is not taken for dead. */
import type { NodeRecord } from '../node-record.js';
import type {
  Announcement,
  RegistryStatus,
  ServiceRegistry,
  SubscriberListener,
  Watch,
  WatchListener,
} from '../registry.js';
import { LeaseThread, type LeaseThreadOptions } from './lease-thread.js';

/** Looks by `local`, in this thread; announces by the other one. */
export class ThreadedRegistry implements ServiceRegistry {
  readonly watchSubscribers?: (listener: SubscriberListener) => Watch;
  private readonly thread: LeaseThread;
  private readonly listeners = new Set<(status: RegistryStatus) => void>();
  private threadStatus: RegistryStatus = { state: 'idle' };
  private told: RegistryStatus;
  private closing: Promise<void> | undefined;

  constructor(
    private readonly local: ServiceRegistry,
    private readonly options: Omit<LeaseThreadOptions, 'onStatus'>,
  ) {
    if (local.watchSubscribers !== undefined) this.watchSubscribers = local.watchSubscribers.bind(local);
    this.told = local.status;
    this.thread = new LeaseThread({
      ...options,
      onStatus: (status) => {
        this.threadStatus = status;
        this.tell();
      },
    });
    local.onStatus(() => this.tell());
  }

  get url(): string {
    return this.local.url;
  }

  /** Stale when one of the two is. */
  get status(): RegistryStatus {
    const { threadStatus } = this;
    const { status } = this.local;
    if (threadStatus.state !== 'stale') return status;
    return status.state === 'stale' && status.since <= threadStatus.since ? status : threadStatus;
  }

  onStatus(listener: (status: RegistryStatus) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  connect(): Promise<void> {
    return this.local.connect();
  }

  announce(record: NodeRecord): Promise<Announcement> {
    return this.thread.announce(record);
  }

  watch(service: string, listener: WatchListener): Watch {
    return this.local.watch(service, listener);
  }

  close(): Promise<void> {
    this.closing ??= this.thread.close().then(() => this.local.close());
    return this.closing;
  }
  private tell(): void {
    const { status } = this;
    if (status === this.told) return;
    this.told = status;
    for (const listener of this.listeners) {
      try {
        listener(status);
      } catch (error) {
        this.options.logger.warn(`a listener to the status of the registry threw: ${String(error)}`);
      }
    }
  }
}
