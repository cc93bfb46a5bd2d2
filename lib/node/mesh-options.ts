/** The options of a node, and their defaults. */
import type { CodecName } from '../protocol/codecs.js';
import type { WireLimits } from '../protocol/limits.js';
import type { RedisSettings } from '../registry/redis/redis-target.js';
import type { ServiceRegistry } from '../registry/registry.js';
import type { EjectionOptions } from '../routing/ejection.js';
import type { PickerFactory } from '../routing/picker.js';
import type { RetryBudgetOptions } from '../routing/retry-budget.js';
import type { RetryOptions } from '../routing/retry.js';
import type { BackoffOptions } from '../transport/backoff.js';
import type { KeepAliveOptions } from '../transport/keep-alive.js';
import type { Network } from '../transport/network.js';
import type { MeshTlsOptions } from '../transport/tls-options.js';

/** Where the node says what goes on in the background. Nest's `Logger` fits. */
export interface MeshLogger {
  log(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  debug(message: string): void;
}

/** What a node answers over plain HTTP/2. */
export interface HttpOptions {
  /**
   * Calls and events: `POST /rpc/{route}` and `POST /events/{route}`. Whoever reaches the port can use them, HTTP tools and
   * proxies too. @default true when `host` is loopback
   */
  readonly rpc: boolean;
  /** `GET /health` and `GET /ready`. @default true */
  readonly health: boolean;
}

/** Everything that can be set for a node. Only `service` is required. */
export interface MeshOptions {
  /** The logical name of this service: 1 to 128 letters, digits and `. _ @ / + -`. */
  readonly service: string;
  /**
   * Where nodes find each other: `redis://`, `rediss://`, `file:DIR`, `memory:NAME`, or a registry of your own.
   * @default 'redis://localhost:6379'
   */
  readonly registry?: string | ServiceRegistry | undefined;
  /** Further options of ioredis for a Redis registry: credentials, TLS, Sentinels, or `{ cluster: [...] }`. */
  readonly redis?: RedisSettings | undefined;
  /** The id of this node, a UUID v4. @default a new one for every start */
  readonly nodeId?: string | undefined;
  /**
   * Whether the node opens a port and writes a record. With `false` it is reached by name all the same, by the nodes that it
   * connects to: see `connectTo`. @default true
   */
  readonly listen?: boolean | undefined;
  /**
   * Services to whose nodes a channel is kept from `announce()` on, also before anything is sent to them. They can call this node
   * back, and where `listen` is false they list it under its name. @default []
   */
  readonly connectTo?: readonly string[] | undefined;
  /** The address to listen on. Beyond loopback use `tls`, or a network that you trust. @default '127.0.0.1' */
  readonly host?: string | undefined;
  /** The port to listen on; 0 takes any free one, which the registry makes known. @default 0 */
  readonly port?: number | undefined;
  /** The address that peers are told, when it is not the one that is listened on: behind NAT, in a container. */
  readonly advertise?: { readonly host?: string | undefined; readonly port?: number | undefined } | undefined;
  /** Free-form JSON that other nodes can read in the registry. @default {} */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** TLS for listening and for dialling; all nodes of a mesh must agree on it. @default none: cleartext HTTP/2 */
  readonly tls?: MeshTlsOptions | undefined;
  /** What this node answers over plain HTTP/2, without a channel: to `curl`, to a supervisor. */
  readonly http?: Partial<HttpOptions> | undefined;
  /**
   * How long a call may wait for its answer, in ms, finding and connecting included; for a stream of answers, for its first
   * value. 0 = for ever. @default 30_000
   */
  readonly timeoutMs?: number | undefined;
  /** How long a connection may take until the peer's HTTP/2 SETTINGS have come, in ms. @default 5_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Time for calls under way to end when the node closes, in ms. @default 10_000 */
  readonly drainTimeoutMs?: number | undefined;
  /** PINGs that notice a peer which is gone without a word. */
  readonly keepAlive?: Partial<KeepAliveOptions> | undefined;
  /** How long to wait between attempts to reach a node: full jitter between 0 and the bound. */
  readonly reconnect?: Partial<BackoffOptions> | undefined;
  /** Mean time between heartbeats, and between looks at the registry, in ms. @default 2_000 */
  readonly heartbeatIntervalMs?: number | undefined;
  /** How long the record of this node stands without a heartbeat, in ms: at least 3 heartbeats. @default 10_000 */
  readonly ttlMs?: number | undefined;
  /** How long to wait for the registry, in ms. @default 5_000 */
  readonly registryTimeoutMs?: number | undefined;
  /**
   * Whether the record of this node is kept alive by a worker thread with a connection of its own, so that a handler which blocks
   * the event loop for longer than `ttlMs` does not make the node disappear. @default false
   */
  readonly leaseThread?: boolean | undefined;
  /**
   * With `leaseThread`: how long the event loop may be blocked, in ms, until the thread takes the record out of the registry; it is
   * put back when the loop goes on. At least 2 heartbeats. @default 60_000
   */
  readonly maxBlockedMs?: number | undefined;
  /**
   * Packets over this many bytes have an HTTP/2 stream to themselves, so that they do not delay the small ones; 0 = never. Lowering
   * it costs a stream for more of them, raising it lets larger ones stand in the way. @default 262_144 (256 KiB)
   */
  readonly largeMessageBytes?: number | undefined;
  /** Bounds on what one peer can make this node hold. */
  readonly limits?: Partial<WireLimits> | undefined;
  /**
   * What a `MeshServer` does at start when several handlers have one message pattern: `'error'` refuses to listen, `'warn'`
   * says so and lets the last one answer. @default 'error'
   */
  readonly duplicateHandlers?: 'error' | 'warn' | undefined;
  /**
   * What this node offers when it opens a channel; peers that do not know it answer in JSON, and every node takes both. With
   * `'msgpack'` messages are smaller, and bytes and 64-bit integers travel as they are. @default 'json'
   */
  readonly codec?: CodecName | undefined;
  /**
   * How many of the nodes of a service calls are spread over, each client having its own; 0 or Infinity = all. Raising it makes the
   * servers' shares more even where there are few clients, and costs connections on both sides. @default 20
   */
  readonly subsetSize?: number | undefined;
  /**
   * How long a connection with a node outside of the subset may go unused before it is closed, in ms; 0 = it stays. @default 60_000
   */
  readonly idleSessionMs?: number | undefined;
  /** How a node is chosen among several of a service. @default p2c */
  readonly picker?: PickerFactory | undefined;
  /** How many calls this node wants beside the others of its service: with 2 twice as many as one with 1. @default 1 */
  readonly weight?: number | undefined;
  /**
   * Where this node stands: a data centre, a rack. Calls stay within the zone of the caller as long as its nodes are not much busier
   * than the others. @default none
   */
  readonly zone?: string | undefined;
  /** How long a node that has just begun gets fewer calls, in ms; their share grows from a tenth. 0 = none. @default 10_000 */
  readonly slowStartMs?: number | undefined;
  /**
   * How old a connection that this node has opened becomes, in ms, give or take a tenth; then another one takes its place, and it ends
   * with what is open on it. So connections are spread anew over what stands between the nodes. 0 = any age. @default 3_600_000
   */
  readonly sessionMaxAgeMs?: number | undefined;
  /** When a node gets no calls for a while because those that it had have failed. */
  readonly ejection?: Partial<EjectionOptions> | undefined;
  /** Calls that are made again when they have failed: those that provably did not run, and those that may run twice. */
  readonly retry?: Partial<RetryOptions> | undefined;
  /** How many calls to a service may be made again, beside those that are made once. */
  readonly retryBudget?: Partial<RetryBudgetOptions> | undefined;
  /**
   * How many calls of all peers this node handles at a time; what is beyond that waits for its turn. A call counts until its handler
   * has ended. Events do not count. @default no limit
   */
  readonly maxConcurrency?: number | undefined;
  /** How many calls may wait for their turn; more are refused. 0 = none. @default as many as `maxConcurrency` */
  readonly maxQueue?: number | undefined;
  /** Where the node says what goes on in the background. @default Nest's Logger */
  readonly logger?: MeshLogger | undefined;
}

/** Defaults of the plain options; those of `limits`, `keepAlive` and `reconnect` stand beside their types. */
export const MESH_DEFAULTS = {
  registry: 'redis://localhost:6379',
  listen: true,
  host: '127.0.0.1',
  port: 0,
  timeoutMs: 30_000,
  connectTimeoutMs: 5_000,
  drainTimeoutMs: 10_000,
  largeMessageBytes: 262_144,
  duplicateHandlers: 'error',
  codec: 'json',
  subsetSize: 20,
  weight: 1,
  slowStartMs: 10_000,
  sessionMaxAgeMs: 3_600_000,
  idleSessionMs: 60_000,
  leaseThread: false,
  maxBlockedMs: 60_000,
} as const;

/** What the inside of the node works with: every value is there and has been checked. */
export interface ResolvedOptions {
  readonly service: string;
  readonly registry: string | ServiceRegistry;
  readonly redis: RedisSettings | undefined;
  readonly nodeId: string;
  readonly listen: boolean;
  readonly connectTo: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly advertiseHost: string;
  /** `undefined`: the port that is really listened on. */
  readonly advertisePort: number | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tls: MeshTlsOptions | undefined;
  readonly http: HttpOptions;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly keepAlive: KeepAliveOptions;
  readonly reconnect: BackoffOptions;
  readonly heartbeatIntervalMs: number;
  readonly ttlMs: number;
  readonly registryTimeoutMs: number;
  readonly leaseThread: boolean;
  readonly maxBlockedMs: number;
  readonly largeMessageBytes: number;
  readonly limits: WireLimits;
  readonly duplicateHandlers: 'error' | 'warn';
  readonly codec: CodecName;
  /** `Infinity`: all nodes. */
  readonly subsetSize: number;
  readonly idleSessionMs: number;
  readonly picker: PickerFactory;
  readonly weight: number;
  readonly zone: string | undefined;
  readonly slowStartMs: number;
  readonly sessionMaxAgeMs: number;
  readonly ejection: EjectionOptions;
  readonly retry: RetryOptions;
  readonly retryBudget: RetryBudgetOptions;
  /** `Infinity`: no limit. */
  readonly maxConcurrency: number;
  readonly maxQueue: number;
  readonly logger: MeshLogger;
  /** No option of users: `nestjs-mesh/testing` gives one; otherwise TCP and TLS. */
  readonly network?: Network | undefined;
}
