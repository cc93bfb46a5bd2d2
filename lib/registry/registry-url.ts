/** Chooses the registry by the scheme of its URL. */
import { MeshError } from '../protocol/mesh-error.js';
import type { LeaseRegistryDeps } from './lease-registry.js';
import { openFileRegistry } from './file-registry.js';
import { openMemoryRegistry } from './memory-registry.js';
import { openRedisRegistry } from './redis/redis-registry.js';
import { hideCredentials, type RedisSettings } from './redis/redis-target.js';
import { SYSTEM_CLOCK, type RegistryClock } from './registry-clock.js';
import {
  REGISTRY_DEFAULTS,
  type RegistryLogger,
  type RegistryTimings,
  type ServiceRegistry,
} from './registry.js';
import { ThreadedRegistry } from './thread/threaded-registry.js';

export type { RedisSettings } from './redis/redis-target.js';

/** The Redis server of this machine. */
export const DEFAULT_REGISTRY_URL = 'redis://localhost:6379';

/** Further settings of {@link openRegistry}. */
export interface OpenRegistryOptions {
  /** What is left out has its value of {@link REGISTRY_DEFAULTS}. */
  readonly timings?: Partial<RegistryTimings> | undefined;
  /** @default silent */
  readonly logger?: RegistryLogger | undefined;
  /** For `redis://` and `rediss://`: options of ioredis, also for Sentinel, or a Cluster. They outrank the URL. */
  readonly redis?: RedisSettings | undefined;
  /** @default the clock, the timers and the randomness of this process */
  readonly clock?: RegistryClock | undefined;
  /** Announcements are kept alive by a thread of their own; without effect for `memory:`. @default in this thread */
  readonly leaseThread?: { readonly maxBlockedMs: number } | undefined;
}

const SILENT: RegistryLogger = { warn: () => undefined, log: () => undefined };

/**
 * Makes the registry for `url`, without connecting yet: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://…`
 * (TLS), `file:DIR` (relative or absolute, also `file:///DIR`), or `memory:NAME`.
 *
 * @throws MeshError INVALID_ARGUMENT, naming the value and what is accepted.
 */
export function openRegistry(
  url: string = DEFAULT_REGISTRY_URL,
  options: OpenRegistryOptions = {},
): ServiceRegistry {
  const deps: LeaseRegistryDeps = {
    timings: resolveTimings(options.timings),
    logger: options.logger ?? SILENT,
    clock: options.clock ?? SYSTEM_CLOCK,
  };
  const local = openLocal(url, options.redis, deps);
  if (options.leaseThread === undefined || /^memory:/i.test(url)) return local;
  return new ThreadedRegistry(local, { url, redis: options.redis, ...deps, ...options.leaseThread });
}

function openLocal(url: string, redis: RedisSettings | undefined, deps: LeaseRegistryDeps): ServiceRegistry {
  const [, scheme, rest = ''] = /^([a-z]+):(.*)$/is.exec(url) ?? [];
  switch (scheme?.toLowerCase()) {
    case 'redis':
    case 'rediss':
      return openRedisRegistry(url, redis, deps);
    case 'file':
      if (directoryOf(rest) === '') throw invalidUrl(url);
      return openFileRegistry(directoryOf(rest), deps);
    case 'memory':
      if (rest === '') throw invalidUrl(url);
      return openMemoryRegistry(rest, deps);
    default:
      throw invalidUrl(url);
  }
}

/** `rel/dir`, `/abs/dir` and `///abs/dir` are all paths; percent signs mean themselves. */
function directoryOf(rest: string): string {
  return rest.replace(/^\/\/(?=\/)/, '');
}

function resolveTimings(given: Partial<RegistryTimings> = {}): RegistryTimings {
  const timings: RegistryTimings = {
    heartbeatIntervalMs: given.heartbeatIntervalMs ?? REGISTRY_DEFAULTS.heartbeatIntervalMs,
    ttlMs: given.ttlMs ?? REGISTRY_DEFAULTS.ttlMs,
    registryTimeoutMs: given.registryTimeoutMs ?? REGISTRY_DEFAULTS.registryTimeoutMs,
  };
  const faults = Object.entries(timings)
    .filter(([, value]) => !Number.isInteger(value) || value < 1 || value > MAX_TIMER_MS)
    .map(
      ([name, value]) =>
        `\`${name}\` must be a whole number of milliseconds from 1 to ${MAX_TIMER_MS}, not ${value}`,
    );
  if (faults.length === 0 && timings.ttlMs < 2 * timings.heartbeatIntervalMs) {
    faults.push(
      `\`ttlMs\` (${timings.ttlMs}) must be at least twice \`heartbeatIntervalMs\` (${timings.heartbeatIntervalMs}): ` +
        'else one late heartbeat makes a live node disappear',
    );
  }
  if (faults.length > 0) throw new MeshError('INVALID_ARGUMENT', faults.join('; '), { delivery: 'not-sent' });
  return timings;
}

/** The longest delay of a timer of Node. */
const MAX_TIMER_MS = 2_147_483_647;

function invalidUrl(url: unknown): MeshError {
  const shown = JSON.stringify(hideCredentials(String(url)).slice(0, 200));
  return new MeshError(
    'INVALID_ARGUMENT',
    `the registry ${shown} is not known: expected redis://HOST:PORT, rediss://HOST:PORT, file:DIR or memory:NAME`,
    { delivery: 'not-sent' },
  );
}
