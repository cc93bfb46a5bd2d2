/** Finds the services of a directory: their folders. Which events they take is in the records. */
import { watch as watchFolder, type FSWatcher } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoreSubscribers } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type { RegistryTimings } from './registry.js';
import { checkServiceName } from './service-name.js';

/** What the search needs. */
export interface FileSubscribersDeps {
  readonly clock: RegistryClock;
  readonly timings: RegistryTimings;
  /** There may be another service. */
  readonly changed: () => void;
}

/** A folder in which nothing was written for this long has no live node; bridges clocks that differ. */
const LEAST_QUIET_MS = 60_000;

export class FileSubscribers implements StoreSubscribers {
  private watcher: FSWatcher | undefined;
  private closed = false;

  constructor(
    private readonly directory: string,
    private readonly deps: FileSubscribersDeps,
  ) {}

  /** The services in whose folders something was written of late: every heartbeat does. */
  async look(): Promise<readonly string[]> {
    this.watchDirectory();
    const entries = await readdir(this.directory, { withFileTypes: true }).catch((error: unknown) => {
      // Removed under living nodes, who make it again.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    });
    const { clock, timings } = this.deps;
    const quietMs = Math.max(LEAST_QUIET_MS, 10 * timings.heartbeatIntervalMs, 2 * timings.ttlMs);
    const since = clock.now() - quietMs;
    const services = await Promise.all(
      entries
        .filter((entry) => entry.isDirectory())
        .map(async ({ name }) => ((await writtenAt(join(this.directory, name))) > since ? name : undefined)),
    );
    return services.flatMap((folder) => (folder === undefined ? [] : (serviceOf(folder) ?? [])));
  }

  close(): void {
    this.closed = true;
    this.unwatchDirectory();
  }

  private watchDirectory(): void {
    if (this.watcher !== undefined || this.closed) return;
    try {
      const watcher = watchFolder(this.directory, (_event, name) => {
        if (name === null || !name.startsWith('.')) this.deps.changed();
      });
      watcher.on('error', () => this.unwatchDirectory());
      this.watcher = watcher;
    } catch {
      // No more watches to be had from the system: polling finds what changes.
    }
  }

  private unwatchDirectory(): void {
    this.watcher?.close();
    this.watcher = undefined;
  }
}

async function writtenAt(folder: string): Promise<number> {
  return stat(folder).then(
    ({ mtimeMs }) => mtimeMs,
    // Removed since the directory was listed.
    () => -Infinity,
  );
}

/** The service of a folder; `undefined` for folders of others. */
function serviceOf(folder: string): string | undefined {
  try {
    const service = decodeURIComponent(folder);
    return checkServiceName(service) === undefined ? service : undefined;
  } catch {
    return undefined;
  }
}
