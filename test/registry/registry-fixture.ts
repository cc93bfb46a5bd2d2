/** What the tests of the registry share: fast timings, a logger that remembers, and watches that can be waited for. */
import { randomUUID } from 'node:crypto';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import type { RegistryClock } from '../../lib/registry/registry-clock.js';
import { openRegistry, type OpenRegistryOptions } from '../../lib/registry/registry-url.js';
import type { RegistryTimings, ServiceRegistry, Watch } from '../../lib/registry/registry.js';

/** Twenty times faster than real life, but for the TTL, which leaves a busy machine its time. */
export const FAST: RegistryTimings = { heartbeatIntervalMs: 100, ttlMs: 1_000, registryTimeoutMs: 1_000 };

/** The longest jittered interval, and what a busy machine may add; well below the TTL. Exact times: ticker.spec.ts. */
export const ONE_BEAT_MS = 1.1 * FAST.heartbeatIntervalMs + 300;

export interface RememberingLogger {
  readonly warnings: string[];
  readonly logs: string[];
  warn(message: string): void;
  log(message: string): void;
}

export function rememberingLogger(): RememberingLogger {
  const warnings: string[] = [];
  const logs: string[] = [];
  return { warnings, logs, warn: (text) => warnings.push(text), log: (text) => logs.push(text) };
}

export function newRecord(fields: Partial<NodeRecord> = {}): NodeRecord {
  return { id: randomUUID(), service: 'orders', host: '127.0.0.1', port: 4_000, metadata: {}, ...fields };
}

/** Opens registries with fast timings and closes them all at the end of a test. */
export class Registries {
  private readonly opened: ServiceRegistry[] = [];
  readonly logger = rememberingLogger();

  open(url: string, options: OpenRegistryOptions = {}): ServiceRegistry {
    const registry = openRegistry(url, {
      logger: this.logger,
      ...options,
      timings: { ...FAST, ...options.timings },
    });
    this.opened.push(registry);
    return registry;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.opened.splice(0).map((registry) => registry.close()));
  }
}

/** A watch and everything it was told. */
export interface Seen {
  readonly watch: Watch;
  /** The sets, in the order in which they were told; each as node ids. */
  readonly history: string[][];
  readonly nodes: () => readonly NodeRecord[];
  /** Resolves when exactly these nodes are known. */
  readonly waitFor: (ids: readonly string[], timeoutMs?: number) => Promise<void>;
}

export function see(registry: ServiceRegistry, service = 'orders'): Seen {
  const history: string[][] = [];
  let nodes: readonly NodeRecord[] = [];
  const watch = registry.watch(service, (told) => {
    nodes = told;
    history.push(told.map(({ id }) => id));
  });
  const waitFor = (ids: readonly string[], timeoutMs = 3_000): Promise<void> => {
    const wanted = ids.toSorted().join(', ');
    return eventually(() => {
      const found = nodes.map(({ id }) => id).join(', ');
      if (history.length === 0 || found !== wanted) {
        throw new Error(`expected the nodes [${wanted}], but the watch knows [${found}]`);
      }
    }, timeoutMs);
  };
  return { watch, history, nodes: () => nodes, waitFor };
}

/** Tries `check` again and again until it no longer throws. It polls, since what it waits for is in another process. */
export async function eventually(check: () => void | Promise<void>, timeoutMs = 3_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await pause(5);
    }
  }
}

/** Lets real time pass, where a test says that something does NOT happen meanwhile. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** A clock that stands until it is moved. */
export class ManualClock implements RegistryClock {
  private readonly timers = new Set<{ readonly at: number; readonly task: () => void }>();
  /** What `random` gives. */
  chance = 0.5;

  constructor(private time = 1_000_000) {}

  now(): number {
    return this.time;
  }

  random(): number {
    return this.chance;
  }

  setTimer(delayMs: number, task: () => void): () => void {
    const timer = { at: this.time + delayMs, task };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  /** How many timers are set. */
  get pending(): number {
    return this.timers.size;
  }

  /** Moves on, running what is due in order; after each task the microtasks that it began. */
  async advance(byMs: number): Promise<void> {
    const end = this.time + byMs;
    for (;;) {
      const due = [...this.timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.timers.delete(due);
      this.time = Math.max(this.time, due.at);
      due.task();
      await settle();
    }
    this.time = end;
    await settle();
  }
}

/** Runs the microtasks that are pending, and those they begin. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
