/** A registry that lists what it is given: for measuring sessions without what a store costs. */
import type {
  Announcement,
  NodeRecord,
  RegistryStatus,
  ServiceRegistry,
  Watch,
  WatchListener,
} from 'nestjs-mesh';

export class Listing implements ServiceRegistry {
  readonly url = 'listing:';
  readonly status: RegistryStatus = { state: 'connected' };
  private readonly listeners = new Set<WatchListener>();
  private records: readonly NodeRecord[] = [];

  /** Lists these too. */
  add(records: readonly NodeRecord[]): void {
    this.records = [...this.records, ...records];
    for (const listener of this.listeners) listener(this.records);
  }

  connect(): Promise<void> {
    return Promise.resolve();
  }

  announce(): Promise<Announcement> {
    return Promise.resolve({ update: () => Promise.resolve(), withdraw: () => Promise.resolve() });
  }

  watch(_service: string, listener: WatchListener): Watch {
    this.listeners.add(listener);
    queueMicrotask(() => listener(this.records));
    return {
      ready: Promise.resolve(),
      refresh: () => listener(this.records),
      close: () => void this.listeners.delete(listener),
    };
  }

  onStatus(): () => void {
    return () => undefined;
  }

  close(): Promise<void> {
    this.listeners.clear();
    return Promise.resolve();
  }
}
