/** What a place for records must offer, so that `LeaseRegistry` can make a registry of it. */
import type { NodeRecord } from './node-record.js';

/** A place where records are kept under a lease: Redis, a shared directory, the memory of this process. */
export interface RecordStore {
  /** For messages and `ServiceRegistry.url`; without user name and password. */
  readonly url: string;
  /**
   * Reaches the store or rejects with a `MeshError`, within `registryTimeoutMs`. Called again after each failure and
   * each `lost`, never while it is open or under way.
   */
  open(listener: StoreListener): Promise<void>;
  /** Writes the whole record under a new lease. `kind` is `beat` when nobody needs to be told of it. */
  write(record: NodeRecord, kind: 'join' | 'beat'): Promise<void>;
  /** Takes the record out and tells those who watch. */
  remove(record: NodeRecord): Promise<void>;
  /** Begins to look out for one service; asked at each heartbeat interval and after each hint. */
  lookOut(service: string): StoreLookout;
  /** Begins to look out for the services that take events; asked like {@link lookOut}. */
  lookOutForSubscribers(): StoreSubscribers;
  /** Ends everything; `open` under way rejects. Never rejects itself. */
  close(): Promise<void>;
}

/** What a store tells of its own accord. */
export interface StoreListener {
  /** The store can no longer be reached; `open` will be called again. At most once for each `open`. */
  lost(reason: string): void;
  /** Something may have changed for the nodes of `service`; `leftId` when a node says that it left. */
  hint(service: string, leftId?: string): void;
  /** Another service may take events. */
  hintSubscribers(): void;
}

/** The standing question for the services that take events. */
export interface StoreSubscribers {
  /** At least those with a live node that announces event patterns, in any order. Rejects when the store cannot say. */
  look(): Promise<readonly string[]>;
  close(): void;
}

/** The standing question for the nodes of one service. */
export interface StoreLookout {
  /** The live records now. Rejects when the store cannot say. */
  look(): Promise<Look>;
  close(): void;
}

/** One answer of a store. */
export interface Look {
  readonly records: readonly NodeRecord[];
  /** Changes when the store may have lost records since the look before: flushed, restarted, reconnected. */
  readonly generation: string;
  /**
   * Ids that are gone since the look before and have not left, as far as the store can tell: their leases have ended. Those that have
   * told (`hint` with `leftId`) may be among them. A store that cannot tell leaves it out.
   */
  readonly lost?: readonly string[] | undefined;
}
