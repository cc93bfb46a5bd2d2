/** The way to the store of a registry: opened when it is needed, and dialled again when it is lost. */
import { MeshError } from '../protocol/mesh-error.js';
import type { RecordStore, StoreListener } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type { RegistryTimings } from './registry.js';
import { reasonOf, type StatusBoard } from './status-board.js';

/** What the link needs of the registry it belongs to. */
export interface StoreLinkOwner extends Omit<StoreListener, 'lost'> {
  readonly timings: RegistryTimings;
  readonly clock: RegistryClock;
  readonly board: StatusBoard;
  /** True while somebody watches: then a store that was never reached is dialled again, too. */
  isWatched(): boolean;
  /** The store is there, for the first time or again. */
  opened(): void;
}

/** The first pause before the store is dialled again; it doubles up to one heartbeat interval, with full jitter. */
const FIRST_REDIAL_MS = 100;

export class StoreLink {
  private open = false;
  private wasOpen = false;
  private closing = false;
  private opening: Promise<void> | undefined;
  private cancelRedial: (() => void) | undefined;
  private failedDials = 0;

  constructor(
    private readonly store: RecordStore,
    private readonly owner: StoreLinkOwner,
  ) {}

  /** False while the store is away. */
  get isOpen(): boolean {
    return this.open;
  }

  /** Throws a `MeshError` (`FAILED_PRECONDITION`) once the registry is being closed. */
  checkNotClosed(): void {
    if (!this.closing) return;
    throw new MeshError('FAILED_PRECONDITION', `the registry ${this.store.url} was closed; open a new one`, {
      delivery: 'not-sent',
    });
  }

  /** Opens the store unless it is open. Rejects with a `MeshError` (`not-sent`). */
  async connect(): Promise<void> {
    this.checkNotClosed();
    if (this.open) return;
    this.opening ??= this.dial().finally(() => (this.opening = undefined));
    await this.opening;
  }

  /** A failure is on the board, and since somebody watches, the store is dialled again. */
  connectSoon(): void {
    if (!this.open) this.connect().catch(() => undefined);
  }

  /** Dials no more. Where the store is open it stays so until {@link close}: it is still needed to withdraw. */
  async stopDialling(): Promise<void> {
    this.closing = true;
    this.cancelRedial?.();
    // Ends a dial that is under way.
    if (!this.open) await this.store.close();
  }

  /** Ends everything. Never rejects. */
  async close(): Promise<void> {
    this.open = false;
    await this.store.close();
    await this.opening?.catch(() => undefined);
  }

  private async dial(): Promise<void> {
    const { owner } = this;
    this.cancelRedial?.();
    let lostAtOnce: string | undefined;
    let opened = false;
    try {
      await this.store.open({
        lost: (reason) => {
          if (opened) this.lost(reason);
          else lostAtOnce = reason;
        },
        hint: (service, leftId) => owner.hint(service, leftId),
        hintSubscribers: () => owner.hintSubscribers(),
      });
    } catch (error) {
      this.checkNotClosed();
      const fault = MeshError.from(error, 'UNAVAILABLE', { delivery: 'not-sent' });
      if (this.wasOpen || owner.isWatched()) this.away(reasonOf(fault));
      throw fault;
    }
    this.checkNotClosed();
    opened = true;
    this.wasOpen = true;
    this.open = true;
    // Lost in the same breath as it was opened.
    if (lostAtOnce !== undefined) {
      this.lost(lostAtOnce);
      throw new MeshError('UNAVAILABLE', lostAtOnce, { delivery: 'not-sent' });
    }
    this.failedDials = 0;
    owner.board.good('connection');
    owner.opened();
  }

  private lost(reason: string): void {
    if (!this.open || this.closing) return;
    this.open = false;
    this.away(reason);
  }

  private away(reason: string): void {
    this.failedDials += 1;
    this.owner.board.fault('connection', reason);
    this.redialLater();
  }

  private redialLater(): void {
    const { timings, clock } = this.owner;
    const ceiling = Math.min(
      timings.heartbeatIntervalMs,
      FIRST_REDIAL_MS * 2 ** Math.min(this.failedDials, 20),
    );
    this.cancelRedial?.();
    this.cancelRedial = clock.setTimer(clock.random() * ceiling, () => {
      this.connect().catch(() => undefined);
    });
  }
}
