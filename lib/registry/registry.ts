/** Who is where: the seam between the mesh and the store in which nodes announce themselves. */
import type { NodeRecord } from './node-record.js';

/** A node's standing announcement, kept alive by heartbeats until it is withdrawn. */
export interface Announcement {
  /**
   * Replaces the announced metadata: written at once, then with every heartbeat. Does not reject for a registry that is
   * away: they are written when it is back. Rejects with INVALID_ARGUMENT for what is no JSON, and with
   * FAILED_PRECONDITION after {@link withdraw}.
   */
  update(metadata: Readonly<Record<string, unknown>>): Promise<void>;
  /** Takes the record out of the registry and ends the heartbeats. Idempotent; never rejects for a registry that is away. */
  withdraw(): Promise<void>;
}

/** A standing look-out for the nodes of one service. */
export interface Watch {
  /** Resolves once the first answer of the registry was handed to the listener; never rejects, waits while the registry is away. */
  readonly ready: Promise<void>;
  /** Asks the registry again now (bounded: calls while one is under way share it). */
  refresh(): void;
  close(): void;
}

/** Called with the whole set of live nodes of the service, only when it differs from the set before. */
export type WatchListener = (nodes: readonly NodeRecord[]) => void;

/** Called with all services that take events, sorted, only when they differ from those before; some may take none after all. */
export type SubscriberListener = (services: readonly string[]) => void;

/** Whether the last exchange with the store worked. */
export type RegistryStatus =
  | { readonly state: 'idle' }
  | { readonly state: 'connected' }
  /** `since`: epoch milliseconds of the last good exchange. The last known nodes go on being used. */
  | { readonly state: 'stale'; readonly since: number; readonly reason: string };

/** Told of what goes wrong in the background; the registry itself never throws there. */
export interface RegistryLogger {
  warn(message: string): void;
  log(message: string): void;
  debug?(message: string): void;
}

/** What the registry needs to know, with the defaults of {@link REGISTRY_DEFAULTS}. */
export interface RegistryTimings {
  /** Mean time between heartbeats and between looks at a watched service, in milliseconds; each is jittered by +-10 %. */
  readonly heartbeatIntervalMs: number;
  /** How long a record lives without a heartbeat, in milliseconds. */
  readonly ttlMs: number;
  /** How long to wait for the store, when connecting and for each command, in milliseconds. */
  readonly registryTimeoutMs: number;
}

export const REGISTRY_DEFAULTS: RegistryTimings = {
  heartbeatIntervalMs: 2_000,
  ttlMs: 10_000,
  registryTimeoutMs: 5_000,
};

/** A store of node records: Redis, a shared directory, or the memory of one process. */
export interface ServiceRegistry {
  /** For messages: where this registry is, as a URL without user name and password. */
  readonly url: string;
  readonly status: RegistryStatus;
  /**
   * Reaches the store, or rejects with a `MeshError` (`UNAVAILABLE`, or `UNAUTHENTICATED` for a refused password) within
   * `registryTimeoutMs`. Idempotent and shared while under way; a failed attempt is not remembered.
   */
  connect(): Promise<void>;
  /** Writes the record, resolves when it stands, then keeps it alive. Rejects like {@link connect} when the store is away. */
  announce(record: NodeRecord): Promise<Announcement>;
  /** Starts looking out for the nodes of `service`. Works while the store is away: it then begins with an empty set. */
  watch(service: string, listener: WatchListener): Watch;
  /**
   * Starts looking out for the services of which a node announces event patterns, as {@link watch} does for nodes. A registry
   * without it is as good as any other but for `publish()`.
   */
  watchSubscribers?(listener: SubscriberListener): Watch;
  /** Calls `listener` at each change of `status`; returns the way to stop that. */
  onStatus(listener: (status: RegistryStatus) => void): () => void;
  /** Withdraws what is still announced, ends all watches and connections. Idempotent. */
  close(): Promise<void>;
}
