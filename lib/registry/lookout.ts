/** Looks out for the nodes of one service on behalf of everybody in this process who watches it. */
import { Audience } from './audience.js';
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
  /** False while the store is away: then nothing is asked and what is known stays. */
  isOpen(): boolean;
  lookWorked(): void;
  lookFailed(error: unknown): void;
  /** The last watch was closed. */
  idle(): void;
}

/** One standing look-out, shared by all watches of its service. */
export class Lookout {
  private readonly watchers: Audience<readonly NodeRecord[]>;
  private readonly ticker: Ticker;
  private set = EMPTY_NODE_SET;
  private listed: readonly NodeRecord[] | undefined;
  private generation: string | undefined;
  private closed = false;

  constructor(
    private readonly store: StoreLookout,
    private readonly owner: LookoutOwner,
  ) {
    this.watchers = new Audience('the nodes of a service', owner.logger);
    this.ticker = new Ticker(() => this.look(), owner.timings.heartbeatIntervalMs, owner.clock);
    // Else the first look follows the opening, by a hint.
    if (owner.isOpen()) this.ticker.soon();
  }

  add(listener: WatchListener): Watch {
    return this.watchers.add(
      listener,
      () => this.ticker.soon(),
      () => this.owner.idle(),
    );
  }

  /** The store is back, or something may have changed: looks at once. `leftId` is a node that said it left. */
  hint(leftId?: string): void {
    if (leftId !== undefined) this.set = releaseNode(this.set, leftId);
    this.ticker.soon();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.store.close();
    this.watchers.dismiss();
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
      this.watchers.tell(this.listed);
    } catch (error) {
      if (!this.closed) this.owner.lookFailed(error);
    }
  }
}
