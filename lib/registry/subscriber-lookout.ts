/** Looks out for the services that take events, on behalf of everybody in this process who publishes. */
import { Audience } from './audience.js';
import type { LookoutOwner } from './lookout.js';
import type { StoreSubscribers } from './record-store.js';
import type { SubscriberListener, Watch } from './registry.js';
import { Ticker } from './ticker.js';

/** One standing look-out for the whole registry. */
export class SubscriberLookout {
  private readonly watchers: Audience<readonly string[]>;
  private readonly ticker: Ticker;
  private listed: readonly string[] | undefined;
  private closed = false;

  constructor(
    private readonly store: StoreSubscribers,
    private readonly owner: LookoutOwner,
  ) {
    this.watchers = new Audience('the services that take events', owner.logger);
    this.ticker = new Ticker(() => this.look(), owner.timings.heartbeatIntervalMs, owner.clock);
    // Else the first look follows the opening, by a hint.
    if (owner.isOpen()) this.ticker.soon();
  }

  add(listener: SubscriberListener): Watch {
    return this.watchers.add(
      listener,
      () => this.ticker.soon(),
      () => this.owner.idle(),
    );
  }

  /** The store is back, or a service may have begun to take events: looks at once. */
  hint(): void {
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
      const found = (await this.store.look()).toSorted();
      if (this.closed) return;
      if (this.listed === undefined || !sameTexts(found, this.listed)) this.listed = found;
      this.owner.lookWorked();
      this.watchers.tell(this.listed);
    } catch (error) {
      if (!this.closed) this.owner.lookFailed(error);
    }
  }
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, at) => text === right[at]);
}
