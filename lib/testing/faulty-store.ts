/** The registry of a test mesh: the one in memory, with faults between it and a node. */
import { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { RecordStore, StoreListener, StoreLookout, StoreSubscribers } from '../registry/record-store.js';

/** What the faults of the mesh say of one node, now. */
export interface StoreFaults {
  /** The node cannot reach the registry. */
  readonly lost: () => boolean;
  /** The registry does not list the node. */
  readonly hidden: () => boolean;
}

/** The store as one node reaches it. */
export class FaultyStore implements RecordStore {
  private listener: StoreListener | undefined;
  private record: NodeRecord | undefined;
  private isListed = false;
  private dead = false;

  constructor(
    private readonly store: RecordStore,
    private readonly faults: StoreFaults,
  ) {}

  get url(): string {
    return this.store.url;
  }

  /** The faults have changed. True when the registry can be reached again. */
  async refresh(): Promise<boolean> {
    const { record, listener, faults } = this;
    if (record !== undefined && !this.dead && this.isListed === faults.hidden()) {
      if (this.isListed) await this.takeOut(record);
      else await this.write(record, 'join');
    }
    if (!faults.lost()) return listener === undefined;
    if (listener !== undefined) {
      await this.close();
      listener.lost(AWAY);
    }
    return false;
  }

  /** The node has crashed: its record stays until its lease ends. */
  die(): void {
    this.dead = true;
  }

  async open(listener: StoreListener): Promise<void> {
    this.refuseWhenLost();
    await this.store.open(listener);
    this.listener = listener;
  }

  async write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void> {
    this.refuseWhenLost();
    this.record = record;
    if (this.dead || this.faults.hidden()) return;
    await this.store.write(record, this.isListed ? kind : 'join');
    this.isListed = true;
  }

  async remove(record: NodeRecord): Promise<void> {
    this.refuseWhenLost();
    this.record = undefined;
    if (!this.dead) await this.takeOut(record);
  }

  lookOut(service: string): StoreLookout {
    const lookout = this.store.lookOut(service);
    return {
      look: async () => {
        this.refuseWhenLost();
        return lookout.look();
      },
      close: () => lookout.close(),
    };
  }

  lookOutForSubscribers(): StoreSubscribers {
    const lookout = this.store.lookOutForSubscribers();
    return {
      look: async () => {
        this.refuseWhenLost();
        return lookout.look();
      },
      close: () => lookout.close(),
    };
  }

  async close(): Promise<void> {
    this.listener = undefined;
    await this.store.close();
  }

  private async takeOut(record: NodeRecord): Promise<void> {
    this.isListed = false;
    await this.store.remove(record);
  }

  private refuseWhenLost(): void {
    if (this.faults.lost()) throw new MeshError('UNAVAILABLE', AWAY, { delivery: 'not-sent' });
  }
}

const AWAY = 'the test has taken the registry away';
