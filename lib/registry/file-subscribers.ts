/** Finds the services of a directory: their folders. Which events they take is in the records. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderWatch } from './folder-watch.js';
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
  private readonly notices: FolderWatch;

  constructor(
    private readonly directory: string,
    private readonly deps: FileSubscribersDeps,
  ) {
    this.notices = new FolderWatch(directory, deps.changed);
  }

  /** The services in whose folders something was written of late: every heartbeat does. */
  async look(): Promise<readonly string[]> {
    this.notices.start();
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
    this.notices.close();
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
