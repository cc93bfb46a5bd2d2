/** Keeps one record in the store by heartbeats, until it is withdrawn. */
import { MeshError } from '../protocol/mesh-error.js';
import { faultOfNodeRecord, type NodeRecord } from './node-record.js';
import type { RecordStore } from './record-store.js';
import type { Pulse } from './pulse.js';
import type { RegistryClock } from './registry-clock.js';
import type { Announcement, RegistryTimings } from './registry.js';
import { Ticker } from './ticker.js';

/** What an announcement needs of the registry it belongs to. */
export interface AnnouncementOwner {
  readonly timings: RegistryTimings;
  readonly clock: RegistryClock;
  /** When to beat and to look again, the same for all that belongs to one registry. */
  readonly pulse: Pulse;
  /** False while the store is away: the beats are left out, the next one writes the whole record again. */
  isOpen(): boolean;
  beatWorked(): void;
  beatFailed(error: unknown): void;
  /** The record could not be taken out; it ends with its lease. */
  withdrawFailed(error: unknown): void;
  /** The announcement ended. */
  withdrawn(): void;
}

/** An announcement whose first write is done. */
export class StandingAnnouncement implements Announcement {
  private readonly ticker: Ticker;
  private withdrawal: Promise<void> | undefined;
  /** `join` as long as others were not told of the record as it is. */
  private due: 'join' | 'beat' = 'beat';
  /** The last write asked for; they go one after the other. */
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private record: NodeRecord,
    private readonly store: RecordStore,
    private readonly owner: AnnouncementOwner,
  ) {
    this.ticker = new Ticker(() => this.beat(), owner.pulse, owner.clock);
    this.ticker.later();
  }

  async update(metadata: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.withdrawal !== undefined) {
      throw new MeshError('FAILED_PRECONDITION', 'this announcement was withdrawn; announce the node again', {
        delivery: 'not-sent',
      });
    }
    // A copy: what the caller changes in its object later is not announced by accident.
    const record = { ...this.record, metadata: structuredCloneOfJson(metadata) };
    const fault = faultOfNodeRecord(record);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', `cannot announce the node: ${fault}`);
    this.record = record;
    this.due = 'join';
    await this.beat();
  }

  withdraw(): Promise<void> {
    this.withdrawal ??= this.leave();
    return this.withdrawal;
  }

  /** Writes the record now: the store is back and may have lost it. */
  beatSoon(): void {
    this.ticker.soon();
  }

  private beat(): Promise<void> {
    this.writing = this.writing.then(() => this.write());
    return this.writing;
  }

  private async write(): Promise<void> {
    if (!this.owner.isOpen() || this.withdrawal !== undefined) return;
    const kind = this.due;
    this.due = 'beat';
    try {
      await this.store.write(this.record, kind);
      this.owner.beatWorked();
    } catch (error) {
      if (kind === 'join') this.due = 'join';
      if (this.withdrawal === undefined) this.owner.beatFailed(error);
    }
  }

  private async leave(): Promise<void> {
    // A write under way would put the record back after it was taken out.
    await this.ticker.stop();
    await this.writing;
    try {
      if (!this.owner.isOpen()) throw new Error('the registry is away');
      await this.store.remove(this.record);
    } catch (error) {
      this.owner.withdrawFailed(error);
    } finally {
      this.owner.withdrawn();
    }
  }
}

/** Metadata travels as JSON; what JSON cannot hold is refused here and not in a heartbeat later. */
export function structuredCloneOfJson(metadata: unknown): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(JSON.stringify(metadata)) as Record<string, unknown>;
  } catch (error) {
    throw new MeshError('INVALID_ARGUMENT', `the metadata of a node must be JSON: ${String(error)}`, {
      cause: error,
    });
  }
}
