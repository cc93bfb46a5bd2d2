/** One pure step from what the user wrote to what the node works with; it reports every fault at once. */
import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { DEFAULT_WIRE_LIMITS, type WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { REGISTRY_DEFAULTS } from '../registry/registry.js';
import { checkServiceName } from '../registry/service-name.js';
import { roundRobin } from '../routing/round-robin.js';
import { DEFAULT_BACKOFF } from '../transport/backoff.js';
import { DEFAULT_KEEP_ALIVE } from '../transport/keep-alive.js';
import { MESH_DEFAULTS, type MeshLogger, type MeshOptions, type ResolvedOptions } from './mesh-options.js';

const MAX_TIMER_MS = 2 ** 31 - 1;
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const SILENT: MeshLogger = { log: () => {}, warn: () => {}, error: () => {}, debug: () => {} };

const KNOWN: ReadonlySet<string> = new Set<keyof MeshOptions>([
  'service',
  'registry',
  'redis',
  'nodeId',
  'host',
  'port',
  'advertise',
  'metadata',
  'tls',
  'timeoutMs',
  'connectTimeoutMs',
  'drainTimeoutMs',
  'keepAlive',
  'reconnect',
  'heartbeatIntervalMs',
  'ttlMs',
  'registryTimeoutMs',
  'limits',
  'picker',
  'logger',
]);

/**
 * Checks and completes the options. Throws one `MeshError` (`INVALID_ARGUMENT`) that lists every fault, each with the name
 * of the option and its value. `alsoKnown`: further names that the caller reads itself.
 */
export function resolveOptions(options: MeshOptions, alsoKnown: readonly string[] = []): ResolvedOptions {
  const check = new Checks();
  const { advertise = {}, keepAlive = {}, reconnect = {}, limits = {} } = options;
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name) && !alsoKnown.includes(name)) check.fault(`${name} is not an option`);
  }
  const nameFault = checkServiceName(options.service);
  if (nameFault !== undefined) check.fault(`service: ${nameFault}`);
  if (options.nodeId !== undefined && !UUID_V4.test(options.nodeId)) {
    check.fault(`nodeId must be a UUID v4, not ${show(options.nodeId)}`);
  }
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
  const metadata = options.metadata ?? {};
  check.json('metadata', metadata);
  const resolved: ResolvedOptions = {
    service: options.service,
    registry: check.registry(options.registry),
    redis: options.redis,
    nodeId: options.nodeId ?? randomUUID(),
    host,
    port: check.port('port', options.port, MESH_DEFAULTS.port, 0),
    advertiseHost: check.host('advertise.host', advertise.host, reachableHost(host)),
    advertisePort:
      advertise.port === undefined ? undefined : check.port('advertise.port', advertise.port, 1, 1),
    metadata,
    tls: options.tls,
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
    limits: check.limits(limits),
    picker: options.picker ?? roundRobin,
    logger: options.logger ?? SILENT,
  };
  check.done();
  return resolved;
}

/** Checks a timeout that was given for a client or a call. */
export function checkTimeoutMs(value: number): number {
  const check = new Checks();
  const timeoutMs = check.duration('timeoutMs', value, MESH_DEFAULTS.timeoutMs);
  check.done();
  return timeoutMs;
}

/** Collects faults, so that a user mends them all in one go. */
class Checks {
  private readonly faults: string[] = [];

  fault(message: string): void {
    this.faults.push(message);
  }

  duration(name: string, value: number | undefined, otherwise: number, least = 0): number {
    if (value === undefined) return otherwise;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < least || value > MAX_TIMER_MS) {
      this.fault(
        `${name} must be a number of milliseconds from ${least} to ${MAX_TIMER_MS}, not ${show(value)}`,
      );
      return otherwise;
    }
    return value;
  }

  port(name: string, value: number | undefined, otherwise: number, least: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isInteger(value) || value < least || value > 65_535) {
      this.fault(`${name} must be a whole number from ${least} to 65535, not ${show(value)}`);
      return otherwise;
    }
    return value;
  }

  host(name: string, value: string | undefined, otherwise: string): string {
    if (value === undefined) return otherwise;
    if (
      typeof value !== 'string' ||
      (isIP(value) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?$/.test(value))
    ) {
      this.fault(`${name} must be an IP address or a host name without a port, not ${show(value)}`);
      return otherwise;
    }
    return value;
  }

  registry(value: MeshOptions['registry']): ResolvedOptions['registry'] {
    if (value === undefined) return MESH_DEFAULTS.registry;
    if (typeof value === 'object' && value !== null && typeof value.watch === 'function') return value;
    if (typeof value !== 'string' || !/^(rediss?|file|memory):/.test(value)) {
      this.fault(
        `registry must be a URL that begins with redis://, rediss://, file: or memory:, not ${show(value)}`,
      );
      return MESH_DEFAULTS.registry;
    }
    return value;
  }

  json(name: string, value: unknown): void {
    try {
      if (typeof value === 'object' && value !== null && !Array.isArray(value) && JSON.stringify(value))
        return;
    } catch {
      // Said below.
    }
    this.fault(`${name} must be a JSON object, not ${show(value)}`);
  }

  limits(given: Partial<WireLimits>): WireLimits {
    const limits: Record<string, number> = { ...DEFAULT_WIRE_LIMITS };
    for (const [name, value] of Object.entries(given)) {
      const least = name === 'incompleteFrameTimeoutMs' ? 0 : 1;
      if (!Object.hasOwn(DEFAULT_WIRE_LIMITS, name)) this.fault(`limits.${name} is not an option`);
      else if (value === undefined) continue;
      else if (!Number.isSafeInteger(value) || value < least || value > 0xffff_ffff) {
        this.fault(
          `limits.${name} must be a whole number from ${least} to ${0xffff_ffff}, not ${show(value)}`,
        );
      } else limits[name] = value;
    }
    return limits as unknown as WireLimits;
  }

  done(): void {
    if (this.faults.length === 0) return;
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the mesh options are not valid:\n- ${this.faults.join('\n- ')}`,
      {
        delivery: 'not-sent',
        details: { faults: this.faults },
      },
    );
  }
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

const SHOWN_CHARACTERS = 60;

function show(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'number') return String(value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // Cycles and BigInts.
  }
  text ??= String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
