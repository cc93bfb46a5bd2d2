/** One pure step from what the user wrote to what the node works with; it reports every fault at once. */
import { randomUUID } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { CODEC_NAMES } from '../protocol/codecs.js';
import { DEFAULT_WIRE_LIMITS } from '../protocol/limits.js';
import { REGISTRY_DEFAULTS } from '../registry/registry.js';
import { checkServiceName } from '../registry/service-name.js';
import { DEFAULT_EJECTION } from '../routing/ejection.js';
import { p2c } from '../routing/p2c.js';
import { DEFAULT_RETRY } from '../routing/retry.js';
import { DEFAULT_RETRY_BUDGET } from '../routing/retry-budget.js';
import { preferZone } from '../routing/zone.js';
import { DEFAULT_BACKOFF } from '../transport/backoff.js';
import { DEFAULT_KEEP_ALIVE } from '../transport/keep-alive.js';
import type { CallRetry } from '../transport/outbound-call.js';
import type { MeshTlsOptions } from '../transport/tls-options.js';
import { RESERVED_METADATA } from '../registry/announced.js';
import { isLogger, isObject, OptionChecks, show } from './option-checks.js';
import { MESH_DEFAULTS, type MeshLogger, type MeshOptions, type ResolvedOptions } from './mesh-options.js';

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const SILENT: MeshLogger = { log: () => {}, warn: () => {}, error: () => {}, debug: () => {} };

const KNOWN: ReadonlySet<string> = new Set<keyof MeshOptions>([
  'service',
  'registry',
  'redis',
  'nodeId',
  'listen',
  'connectTo',
  'host',
  'port',
  'advertise',
  'metadata',
  'tls',
  'http',
  'timeoutMs',
  'connectTimeoutMs',
  'drainTimeoutMs',
  'keepAlive',
  'reconnect',
  'heartbeatIntervalMs',
  'ttlMs',
  'registryTimeoutMs',
  'leaseThread',
  'maxBlockedMs',
  'largeMessageBytes',
  'limits',
  'duplicateHandlers',
  'codec',
  'subsetSize',
  'idleSessionMs',
  'picker',
  'weight',
  'zone',
  'slowStartMs',
  'sessionMaxAgeMs',
  'ejection',
  'retry',
  'retryBudget',
  'maxConcurrency',
  'maxQueue',
  'logger',
]);

const TLS_NAMES: readonly (keyof MeshTlsOptions)[] = [
  'cert',
  'key',
  'ca',
  'pfx',
  'passphrase',
  'ciphers',
  'minVersion',
  'crl',
  'requestCert',
  'rejectUnauthorized',
  'servername',
];

/**
 * Checks and completes the options. Throws one `MeshError` (`INVALID_ARGUMENT`) that lists every fault, each with the name
 * of the option and its value. `alsoKnown`: further names that the caller reads itself.
 */
export function resolveOptions(options: MeshOptions, alsoKnown: readonly string[] = []): ResolvedOptions {
  const check = new OptionChecks();
  if (!isObject(options)) {
    check.fault(`the options must be an object, not ${show(options)}`);
    check.done();
  }
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name) && !alsoKnown.includes(name)) check.fault(`${name} is not an option`);
  }
  const advertise = check.group('advertise', options.advertise, ['host', 'port']);
  const keepAlive = check.group('keepAlive', options.keepAlive, ['intervalMs', 'timeoutMs']);
  const reconnect = check.group('reconnect', options.reconnect, ['baseMs', 'maxMs']);
  const ejection = check.group('ejection', options.ejection, Object.keys(DEFAULT_EJECTION));
  const retry = check.group('retry', options.retry, Object.keys(DEFAULT_RETRY));
  const retryBudget = check.group('retryBudget', options.retryBudget, Object.keys(DEFAULT_RETRY_BUDGET));
  const http = check.group('http', options.http, ['rpc', 'health']);
  const limits = check.group('limits', options.limits, Object.keys(DEFAULT_WIRE_LIMITS));
  if (options.tls !== undefined) check.group('tls', options.tls, TLS_NAMES);
  if (options.logger !== undefined && !isLogger(options.logger)) {
    check.fault(`logger must have the methods log, warn, error and debug, not ${show(options.logger)}`);
  }
  const nameFault = checkServiceName(options.service);
  if (nameFault !== undefined) check.fault(`service: ${nameFault}`);
  if (options.nodeId !== undefined && !UUID_V4.test(options.nodeId)) {
    check.fault(`nodeId must be a UUID v4, not ${show(options.nodeId)}`);
  }
  const listen = check.boolean('listen', options.listen, MESH_DEFAULTS.listen);
  if (!listen) check.needless('listen: false', options, ['host', 'port', 'advertise']);
  const host = check.host('host', options.host, MESH_DEFAULTS.host);
  const heartbeatIntervalMs = check.duration(
    'heartbeatIntervalMs',
    options.heartbeatIntervalMs,
    REGISTRY_DEFAULTS.heartbeatIntervalMs,
    10,
  );
  const ttlMs = check.duration('ttlMs', options.ttlMs, REGISTRY_DEFAULTS.ttlMs, 10);
  if (ttlMs < 3 * heartbeatIntervalMs) {
    check.fault(
      `ttlMs (${ttlMs}) must be at least 3 times heartbeatIntervalMs (${heartbeatIntervalMs}), or nodes come and go`,
    );
  }
  if (options.picker !== undefined && typeof options.picker !== 'function') {
    check.fault(`picker must be a function, not ${show(options.picker)}`);
  }
  const { zone } = options;
  if (zone !== undefined && (typeof zone !== 'string' || zone === '' || zone.length > 128))
    check.fault(`zone must be a text of 1 to 128 characters, not ${show(zone)}`);
  const picker = options.picker ?? p2c;
  const { duplicateHandlers = MESH_DEFAULTS.duplicateHandlers } = options;
  if (duplicateHandlers !== 'error' && duplicateHandlers !== 'warn') {
    check.fault(`duplicateHandlers must be 'error' or 'warn', not ${show(duplicateHandlers)}`);
  }
  const { codec = MESH_DEFAULTS.codec } = options;
  if (!CODEC_NAMES.includes(codec)) check.fault(`codec must be 'json' or 'msgpack', not ${show(codec)}`);
  const metadata = options.metadata ?? {};
  check.json('metadata', metadata);
  if (isObject(metadata) && RESERVED_METADATA in metadata) {
    check.fault(`metadata.${RESERVED_METADATA} is reserved for what a node says of its own handlers`);
  }
  const maxConcurrency = check.count('maxConcurrency', options.maxConcurrency, Infinity);
  if (options.maxQueue !== undefined && options.maxConcurrency === undefined)
    check.fault('maxQueue needs maxConcurrency: without a limit no call waits');
  const resolved: ResolvedOptions = {
    service: options.service,
    registry: check.registry(options.registry),
    redis: options.redis,
    nodeId: options.nodeId ?? randomUUID(),
    listen,
    connectTo: check.services('connectTo', options.connectTo),
    host,
    port: check.port('port', options.port, MESH_DEFAULTS.port, 0),
    advertiseHost: check.host('advertise.host', advertise.host, reachableHost(host)),
    advertisePort:
      advertise.port === undefined ? undefined : check.port('advertise.port', advertise.port, 1, 1),
    metadata,
    tls: options.tls,
    http: {
      rpc: check.boolean('http.rpc', http.rpc, isLoopback(host)),
      health: check.boolean('http.health', http.health, true),
    },
    timeoutMs: check.duration('timeoutMs', options.timeoutMs, MESH_DEFAULTS.timeoutMs),
    connectTimeoutMs: check.duration(
      'connectTimeoutMs',
      options.connectTimeoutMs,
      MESH_DEFAULTS.connectTimeoutMs,
      1,
    ),
    drainTimeoutMs: check.duration('drainTimeoutMs', options.drainTimeoutMs, MESH_DEFAULTS.drainTimeoutMs),
    keepAlive: {
      intervalMs: check.duration('keepAlive.intervalMs', keepAlive.intervalMs, DEFAULT_KEEP_ALIVE.intervalMs),
      timeoutMs: check.duration('keepAlive.timeoutMs', keepAlive.timeoutMs, DEFAULT_KEEP_ALIVE.timeoutMs, 1),
    },
    reconnect: {
      baseMs: check.duration('reconnect.baseMs', reconnect.baseMs, DEFAULT_BACKOFF.baseMs, 1),
      maxMs: check.duration('reconnect.maxMs', reconnect.maxMs, DEFAULT_BACKOFF.maxMs, 1),
    },
    heartbeatIntervalMs,
    ttlMs,
    registryTimeoutMs: check.duration(
      'registryTimeoutMs',
      options.registryTimeoutMs,
      REGISTRY_DEFAULTS.registryTimeoutMs,
      1,
    ),
    leaseThread: check.boolean('leaseThread', options.leaseThread, MESH_DEFAULTS.leaseThread),
    maxBlockedMs: check.duration(
      'maxBlockedMs',
      options.maxBlockedMs,
      Math.max(MESH_DEFAULTS.maxBlockedMs, 2 * heartbeatIntervalMs),
      2 * heartbeatIntervalMs,
    ),
    largeMessageBytes: check.bytes(
      'largeMessageBytes',
      options.largeMessageBytes,
      MESH_DEFAULTS.largeMessageBytes,
    ),
    limits: check.limits(limits),
    duplicateHandlers,
    codec,
    subsetSize: check.subsetSize('subsetSize', options.subsetSize, MESH_DEFAULTS.subsetSize),
    idleSessionMs: check.duration('idleSessionMs', options.idleSessionMs, MESH_DEFAULTS.idleSessionMs),
    picker: zone === undefined ? picker : preferZone(zone, picker),
    weight: check.number('weight', options.weight, MESH_DEFAULTS.weight, 0.001, 1_000),
    zone,
    slowStartMs: check.duration('slowStartMs', options.slowStartMs, MESH_DEFAULTS.slowStartMs),
    sessionMaxAgeMs: check.duration(
      'sessionMaxAgeMs',
      options.sessionMaxAgeMs,
      MESH_DEFAULTS.sessionMaxAgeMs,
    ),
    ejection: {
      consecutiveFailures: check.number(
        'ejection.consecutiveFailures',
        ejection.consecutiveFailures,
        DEFAULT_EJECTION.consecutiveFailures,
        0,
      ),
      successRateDeviations: check.number(
        'ejection.successRateDeviations',
        ejection.successRateDeviations,
        DEFAULT_EJECTION.successRateDeviations,
        0,
      ),
      baseMs: check.duration('ejection.baseMs', ejection.baseMs, DEFAULT_EJECTION.baseMs, 1),
      maxMs: check.duration('ejection.maxMs', ejection.maxMs, DEFAULT_EJECTION.maxMs, 1),
      maxShare: check.number('ejection.maxShare', ejection.maxShare, DEFAULT_EJECTION.maxShare, 0, 1),
    },
    retry: {
      attempts: check.count('retry.attempts', retry.attempts, DEFAULT_RETRY.attempts),
      baseMs: check.duration('retry.baseMs', retry.baseMs, DEFAULT_RETRY.baseMs),
      maxMs: check.duration('retry.maxMs', retry.maxMs, DEFAULT_RETRY.maxMs),
    },
    retryBudget: {
      share: check.number('retryBudget.share', retryBudget.share, DEFAULT_RETRY_BUDGET.share, 0),
      perSecond: check.number(
        'retryBudget.perSecond',
        retryBudget.perSecond,
        DEFAULT_RETRY_BUDGET.perSecond,
        0,
      ),
    },
    maxConcurrency,
    maxQueue: check.count('maxQueue', options.maxQueue, maxConcurrency, 0),
    logger: options.logger ?? SILENT,
  };
  check.done();
  return resolved;
}

/** Checks a timeout that was given for a client or a call. */
export function checkTimeoutMs(value: number): number {
  const check = new OptionChecks();
  const timeoutMs = check.duration('timeoutMs', value, MESH_DEFAULTS.timeoutMs);
  check.done();
  return timeoutMs;
}

/** Checks after how long a call is made a second time. */
export function checkHedge(value: number): number {
  const check = new OptionChecks();
  const afterMs = check.duration('hedgeAfterMs', value, 1, 1);
  check.done();
  return afterMs;
}

/** Checks how a call is to be made again. */
export function checkRetry(given: CallRetry | false): CallRetry {
  if (given === false) return { attempts: 1 };
  const check = new OptionChecks();
  const group = check.group('retry', given, Object.keys(DEFAULT_RETRY));
  const retry = {
    attempts: check.count('retry.attempts', group.attempts, DEFAULT_RETRY.attempts),
    baseMs: check.duration('retry.baseMs', group.baseMs, DEFAULT_RETRY.baseMs),
    maxMs: check.duration('retry.maxMs', group.maxMs, DEFAULT_RETRY.maxMs),
  };
  check.done();
  const names = Object.keys(retry) as (keyof typeof retry)[];
  return Object.fromEntries(
    names.filter((name) => group[name] !== undefined).map((name) => [name, retry[name]]),
  );
}

/** True when only this machine can connect. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** What peers can dial when `host` means every interface. */
function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host;
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? [])
      if (!address.internal && address.family === 'IPv4') return address.address;
  }
  return hostname();
}
