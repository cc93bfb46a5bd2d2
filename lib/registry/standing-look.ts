/** Looks into the store again and again on behalf of everybody in this process who watches the same thing. */
import { Audience } from './audience.js';
import type { Pulse } from './pulse.js';
import type { RegistryClock } from './registry-clock.js';
import type { RegistryLogger, RegistryTimings, Watch } from './registry.js';
import { Ticker } from './ticker.js';

/** What a look-out needs of the registry it belongs to. */
export interface LookoutOwner {
  readonly timings: RegistryTimings;
  readonly logger: RegistryLogger;
  readonly clock: RegistryClock;
  /** When to beat and to look again, the same for all that belongs to one registry. */
  readonly pulse: Pulse;
  /** False while the store is away: then nothing is asked and what is known stays. */
  isOpen(): boolean;
  lookWorked(): void;
  lookFailed(error: unknown): void;
  /** The last watch was closed. */
  idle(): void;
}

/** Where it looks. */
export interface LookSource<Found> {
  look(): Promise<Found>;
  close(): void;
}

/** One standing look-out, shared by all who watch; what was found becomes what they are told of. */
export abstract class StandingLook<Found, Listed extends object> {
  private readonly watchers: Audience<Listed>;
  private readonly ticker: Ticker;
  private closed = false;

  constructor(
    /** What is watched, for a warning. */
    what: string,
    private readonly store: LookSource<Found>,
    protected readonly owner: LookoutOwner,
  ) {
    this.watchers = new Audience(what, owner.logger);
    this.ticker = new Ticker(() => this.look(), owner.pulse, owner.clock);
    // Else the first look follows the opening, by a hint.
    if (owner.isOpen()) this.ticker.soon();
  }

  add(listener: (listed: Listed) => void): Watch {
    return this.watchers.add(
      listener,
      () => this.ticker.soon(),
      () => this.owner.idle(),
    );
  }

  /** The store is back, or something may have changed: looks at once. */
  hint(): void {
    this.ticker.soon();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.store.close();
    this.watchers.dismiss();
    await this.ticker.stop();
  }

  /** What those who watch are told: the very value of the last time when nothing has changed. */
  protected abstract listed(found: Found): Listed;

  private async look(): Promise<void> {
    if (!this.owner.isOpen()) return;
    try {
      const found = await this.store.look();
      if (this.closed) return;
      const listed = this.listed(found);
      this.owner.lookWorked();
      this.watchers.tell(listed);
    } catch (error) {
      if (!this.closed) this.owner.lookFailed(error);
    }
  }
}
