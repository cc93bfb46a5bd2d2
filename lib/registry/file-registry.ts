/**
 * A registry in a directory: `DIR/{encodeURIComponent(service)}/{node id}.json`, for processes of one machine (or of a
 * shared file system whose clocks agree). The file is the record with its lease in `expires_at` (epoch milliseconds).
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { MeshError } from '../protocol/mesh-error.js';
import { FileLookout } from './file-lookout.js';
import { FileSubscribers } from './file-subscribers.js';
import { LeaseRegistry, type LeaseRegistryDeps } from './lease-registry.js';
import { toWireRecord, type NodeRecord } from './node-record.js';
import type { RecordStore, StoreListener, StoreLookout, StoreSubscribers } from './record-store.js';
import type { ServiceRegistry } from './registry.js';
import { withinTime } from './time-limit.js';
import { WarnOnce } from './warn-once.js';

/** The registry `file:DIR`. A relative directory is one below the working directory. */
export function openFileRegistry(directory: string, deps: LeaseRegistryDeps): ServiceRegistry {
  return new LeaseRegistry(new FileStore(directory, deps), deps);
}

class FileStore implements RecordStore {
  readonly url: string;
  private readonly directory: string;
  private readonly warnOnce: WarnOnce;
  private listener: StoreListener | undefined;

  constructor(
    directory: string,
    private readonly deps: LeaseRegistryDeps,
  ) {
    this.url = `file:${directory}`;
    // Now, since the working directory may be another one later.
    this.directory = resolve(directory);
    this.warnOnce = new WarnOnce(deps.logger);
  }

  async open(listener: StoreListener): Promise<void> {
    const probe = join(this.directory, `.${randomUUID()}.tmp`);
    await this.attempt('cannot use the directory of', async () => {
      await makeDirectory(this.directory);
      await writeFile(probe, '');
      await rm(probe, { force: true });
    });
    this.listener = listener;
  }

  async write(record: NodeRecord): Promise<void> {
    const folder = this.folder(record.service);
    const temporary = join(folder, `.${record.id}.${randomUUID()}.tmp`);
    const expiresAt = this.deps.clock.now() + this.deps.timings.ttlMs;
    const content = JSON.stringify({ ...toWireRecord(record), expires_at: expiresAt });
    await this.attempt('cannot write to', async () => {
      await makeDirectory(folder);
      try {
        await writeFile(temporary, content);
        await rename(temporary, join(folder, `${record.id}.json`));
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw error;
      }
    });
  }

  async remove(record: NodeRecord): Promise<void> {
    const file = join(this.folder(record.service), `${record.id}.json`);
    await this.attempt('cannot remove a record from', () => rm(file, { force: true }));
    this.listener?.hint(record.service, record.id);
  }

  lookOut(service: string): StoreLookout {
    const folder = this.folder(service);
    const lookout = new FileLookout(service, folder, {
      clock: this.deps.clock,
      warnOnce: this.warnOnce,
      changed: () => this.listener?.hint(service),
    });
    return {
      look: () =>
        this.attempt('cannot read', async () => {
          // Made if missing, since a folder that does not exist gives no notices.
          await makeDirectory(folder).catch(() => undefined);
          return lookout.look();
        }),
      close: () => lookout.close(),
    };
  }

  lookOutForSubscribers(): StoreSubscribers {
    const subscribers = new FileSubscribers(this.directory, {
      ...this.deps,
      changed: () => this.listener?.hintSubscribers(),
    });
    return {
      look: () => this.attempt('cannot read', () => subscribers.look()),
      close: () => subscribers.close(),
    };
  }

  close(): Promise<void> {
    this.listener = undefined;
    return Promise.resolve();
  }

  private folder(service: string): string {
    return join(this.directory, encodeURIComponent(service));
  }

  private async attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await withinTime(this.deps.clock, this.deps.timings.registryTimeoutMs, work());
    } catch (error) {
      const reason = MeshError.is(error) ? error.rawMessage : String(error);
      throw new MeshError(
        'UNAVAILABLE',
        `${what} the registry ${this.url} (${this.directory}): ${reason}; ` +
          'give a directory in which this process may write in the `registry` option (file:DIR)',
        { delivery: 'not-sent', details: { reason: `${what} it: ${reason}` }, cause: error },
      );
    }
  }
}

/** As `mkdir -p`. Not by Node's own `recursive`, which never ends where the parent exists but takes no folder (/proc). */
async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    if (await isDirectory(directory)) return;
    const parent = dirname(directory);
    if (parent === directory || (await isDirectory(parent))) throw error;
    await makeDirectory(parent);
    await mkdir(directory).catch(async (second: unknown) => {
      if (!(await isDirectory(directory))) throw second;
    });
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}
