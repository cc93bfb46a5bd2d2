/** Looks out for the nodes of one service on behalf of everybody in this process who watches it. */
import type { NodeRecord } from './node-record.js';
import { applyLook, doubtStore, EMPTY_NODE_SET, listNodes, releaseNode } from './node-set.js';
import type { StoreLookout } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type { RegistryLogger, RegistryTimings, Watch, WatchListener } from './registry.js';
import { Ticker } from './ticker.js';

/** What a lookout needs of the registry it belongs to. */
export interface LookoutOwner {
  readonly timings: RegistryTimings;
  readonly logger: RegistryLogger;
  readonly clock: RegistryClock;
  /** False while the store is away: then nothing is asked and the known nodes stay. */
  isOpen(): boolean;
  lookWorked(): void;
  lookFailed(error: unknown): void;
  /** The last watch was closed. */
  idle(): void;
}

interface Watcher {
  readonly listener: WatchListener;
  /** Resolves `Watch.ready`. */
  readonly markReady: () => void;
  told: readonly NodeRecord[] | undefined;
}

/** One standing look-out, shared by all watches of its service. */
export class Lookout {
  private readonly watchers = new Set<Watcher>();
  private readonly ticker: Ticker;
  private set = EMPTY_NODE_SET;
  private listed: readonly NodeRecord[] | undefined;
  private generation: string | undefined;
  private closed = false;

  constructor(
    private readonly store: StoreLookout,
    private readonly owner: LookoutOwner,
  ) {
    this.ticker = new Ticker(() => this.look(), owner.timings.heartbeatIntervalMs, owner.clock);
    // Else the first look follows the opening, by a hint.
    if (owner.isOpen()) this.ticker.soon();
  }

  add(listener: WatchListener): Watch {
    let markReady: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => (markReady = resolve));
    const watcher: Watcher = { listener, markReady, told: undefined };
    this.watchers.add(watcher);
    // Later, so that the caller holds its Watch before the listener is called.
    queueMicrotask(() => this.tell(watcher));
    return {
      ready,
      refresh: () => this.ticker.soon(),
      close: () => {
        if (!this.watchers.delete(watcher)) return;
        watcher.markReady();
        if (this.watchers.size === 0) this.owner.idle();
      },
    };
  }

  /** The store is back, or something may have changed: looks at once. `leftId` is a node that said it left. */
  hint(leftId?: string): void {
    if (leftId !== undefined) this.set = releaseNode(this.set, leftId);
    this.ticker.soon();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.store.close();
    for (const watcher of this.watchers) watcher.markReady();
    this.watchers.clear();
    await this.ticker.stop();
  }

  private async look(): Promise<void> {
    if (!this.owner.isOpen()) return;
    try {
      const { records, generation } = await this.store.look();
      if (this.closed) return;
      const now = this.owner.clock.now();
      if (generation !== this.generation) this.set = doubtStore(this.set, now, this.owner.timings.ttlMs);
      this.generation = generation;
      const before = this.set.nodes;
      this.set = applyLook(this.set, records, now);
      if (this.listed === undefined || this.set.nodes !== before) this.listed = listNodes(this.set);
      this.owner.lookWorked();
      for (const watcher of this.watchers) this.tell(watcher);
    } catch (error) {
      if (!this.closed) this.owner.lookFailed(error);
    }
  }

  private tell(watcher: Watcher): void {
    if (this.listed === undefined || watcher.told === this.listed || !this.watchers.has(watcher)) return;
    watcher.told = this.listed;
    try {
      watcher.listener(this.listed);
    } catch (error) {
      this.owner.logger.warn(`a listener to the nodes of a service threw: ${String(error)}`);
    }
    watcher.markReady();
  }
}
