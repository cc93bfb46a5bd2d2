/** Which Redis: reads the URL and the `redis` option, and makes the clients for a single server, Sentinel or Cluster. */
import { Cluster, Redis, type ClusterNode, type ClusterOptions, type RedisOptions } from 'ioredis';
import { MeshError } from '../../protocol/mesh-error.js';
import { connectorFor } from './redis-connectors.js';

/** A Redis Cluster: some of its nodes to begin with, and the options of ioredis for it. */
export interface RedisClusterSettings {
  readonly cluster: readonly ClusterNode[];
  readonly options?: ClusterOptions;
}

/**
 * The `redis` option: ioredis options (for one server, or with `sentinels` and `name` for Sentinel), or a Cluster. They
 * outrank the URL. Reconnecting, queues and timeouts are the registry's own business: what is set for them is ignored.
 */
export type RedisSettings = RedisOptions | RedisClusterSettings;

/** A client for commands. */
export type RedisClient = Redis | Cluster;

/** A Redis to connect to; each call makes a new client that is not connected yet and never reconnects by itself. */
export interface RedisTarget {
  /** For messages; without user name and password. */
  readonly url: string;
  commands(timeoutMs: number): RedisClient;
  /** `undefined` when the client for commands has a connection for subscriptions of its own (Cluster). */
  subscriber(timeoutMs: number): Redis | undefined;
}

/** How long a socket may take to say goodbye, in milliseconds, before it is destroyed. */
const DISCONNECT_TIMEOUT_MS = 250;

/** @throws MeshError INVALID_ARGUMENT for a URL or options that cannot be used. */
export function redisTarget(url: string, settings: RedisSettings = {}): RedisTarget {
  const fromUrl = readRedisUrl(url);
  return isCluster(settings) ? clusterTarget(fromUrl, settings) : serverTarget(fromUrl, settings);
}

function serverTarget(fromUrl: RedisOptions, settings: RedisOptions): RedisTarget {
  const options: RedisOptions = { ...fromUrl, ...defined(settings) };
  refuseKeyPrefix(options.keyPrefix);
  if (options.sentinels && (options.sentinels.length === 0 || !options.name)) {
    throw invalid('`redis.sentinels` needs at least one Sentinel, and `redis.name` the name of the master');
  }
  const create = (timeoutMs: number): Redis =>
    new Redis({
      connectionName: 'nestjs-mesh',
      Connector: connectorFor(options),
      ...options,
      lazyConnect: true,
      // The registry dials again itself: with a fresh client, so that nothing queued or half-done survives.
      retryStrategy: () => null,
      sentinelRetryStrategy: () => null,
      reconnectOnError: null,
      enableOfflineQueue: false,
      // What is asked at one instant is one write, and one read of Redis: most of what a small command costs.
      enableAutoPipelining: true,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: timeoutMs,
      disconnectTimeout: DISCONNECT_TIMEOUT_MS,
      replyMapping: 'legacy',
      stringNumbers: false,
      monitor: false,
    });
  return { url: describeServer(options), commands: create, subscriber: create };
}

function clusterTarget(fromUrl: RedisOptions, settings: RedisClusterSettings): RedisTarget {
  const { cluster, options = {} } = settings;
  if (cluster.length === 0) throw invalid('`redis.cluster` needs at least one {host, port}');
  refuseKeyPrefix(options.keyPrefix ?? options.redisOptions?.keyPrefix);
  const { username, password, tls } = fromUrl;
  const create = (timeoutMs: number): Cluster =>
    new Cluster([...cluster], {
      ...options,
      lazyConnect: true,
      clusterRetryStrategy: () => null,
      slotsRefreshTimeout: timeoutMs,
      redisOptions: {
        connectionName: 'nestjs-mesh',
        Connector: connectorFor({}),
        ...defined({ username, password, tls }),
        ...options.redisOptions,
        connectTimeout: timeoutMs,
        disconnectTimeout: DISCONNECT_TIMEOUT_MS,
        replyMapping: 'legacy',
        stringNumbers: false,
      },
    });
  const addresses = cluster.map((node) => describeClusterNode(node)).join(',');
  return { url: `redis+cluster://${addresses}`, commands: create, subscriber: () => undefined };
}

/** Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]` or `rediss://…`. */
function readRedisUrl(text: string): RedisOptions {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw invalidUrl(text, 'it is not a URL');
  }
  if (url.search !== '' || url.hash !== '')
    throw invalidUrl(text, 'put further settings into the `redis` option');
  const db = url.pathname === '' || url.pathname === '/' ? '0' : url.pathname.slice(1);
  if (!/^\d{1,5}$/.test(db)) throw invalidUrl(text, 'after the slash comes the number of the database');
  return defined({
    host: url.hostname === '' ? 'localhost' : url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(db),
    username: url.username === '' ? undefined : decode(text, url.username),
    password: url.password === '' ? undefined : decode(text, url.password),
    tls: url.protocol === 'rediss:' ? {} : undefined,
  });
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalidUrl(text, 'a % in the user name or password must be written as %25');
  }
}

/** Replaces user name and password of anything that looks like a URL, for messages. */
export function hideCredentials(text: string): string {
  // Up to the last @: a password that was not percent-encoded may hold slashes and further ones.
  return text.replace(/^([^/]*\/\/).*@/s, '$1***@');
}

function describeServer(options: RedisOptions): string {
  const { sentinels, name, path, host = 'localhost', port = 6379, db = 0, tls } = options;
  if (sentinels) {
    const addresses = sentinels.map((one) => `${one.host ?? 'localhost'}:${one.port ?? 26_379}`);
    return `redis+sentinel://${addresses.join(',')}/${name}`;
  }
  if (path) return `redis+unix:${path}`;
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'rediss' : 'redis'}://${shownHost}:${port}${db === 0 ? '' : `/${db}`}`;
}

function describeClusterNode(node: ClusterNode): string {
  if (typeof node === 'object') return `${node.host ?? 'localhost'}:${node.port ?? 6379}`;
  return typeof node === 'number' ? `localhost:${node}` : node.replace(/^(rediss?:\/\/)?(.*@)?/s, '');
}

function refuseKeyPrefix(keyPrefix: string | undefined): void {
  if (!keyPrefix) return;
  throw invalid(
    `\`redis.keyPrefix\` (${JSON.stringify(keyPrefix)}) cannot be used: the keys are fixed by the protocol; ` +
      'use another database number or another Redis to keep meshes apart',
  );
}

function isCluster(settings: RedisSettings): settings is RedisClusterSettings {
  return 'cluster' in settings;
}

function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

function invalidUrl(text: string, why: string): MeshError {
  return invalid(
    `the registry URL ${JSON.stringify(hideCredentials(text))} cannot be used: ${why}; ` +
      'expected redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or rediss://…',
  );
}

function invalid(message: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', message, { delivery: 'not-sent' });
}
