/**
 * A registry in a directory: `DIR/{encodeURIComponent(service)}/{node id}.json`, for processes of one machine (or of a
 * shared file system whose clocks agree). The file is the record with its lease in `expires_at` (epoch milliseconds).
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { MeshError } from '../protocol/mesh-error.js';
import { FileLookout } from './file-lookout.js';
import { LeaseRegistry, type LeaseRegistryDeps } from './lease-registry.js';
import { toWireRecord, type NodeRecord } from './node-record.js';
import type { RecordStore, StoreListener, StoreLookout } from './record-store.js';
import type { ServiceRegistry } from './registry.js';
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
    try {
      await mkdir(this.directory, { recursive: true });
      await writeFile(probe, '');
      await rm(probe, { force: true });
    } catch (error) {
      throw this.failure('cannot use the directory of', error);
    }
    this.listener = listener;
  }

  async write(record: NodeRecord): Promise<void> {
    const folder = this.folder(record.service);
    const file = join(folder, `${record.id}.json`);
    const temporary = join(folder, `.${record.id}.${randomUUID()}.tmp`);
    const content = JSON.stringify({
      ...toWireRecord(record),
      expires_at: this.deps.clock.now() + this.deps.timings.ttlMs,
    });
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(temporary, content);
      await rename(temporary, file);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw this.failure('cannot write to', error);
    }
  }

  async remove(record: NodeRecord): Promise<void> {
    try {
      await rm(join(this.folder(record.service), `${record.id}.json`), { force: true });
    } catch (error) {
      throw this.failure('cannot remove a record from', error);
    }
    this.listener?.hint(record.service, record.id);
  }

  lookOut(service: string): StoreLookout {
    return new FileLookout(service, this.folder(service), {
      clock: this.deps.clock,
      warnOnce: this.warnOnce,
      changed: () => this.listener?.hint(service),
    });
  }

  close(): Promise<void> {
    this.listener = undefined;
    return Promise.resolve();
  }

  private folder(service: string): string {
    return join(this.directory, encodeURIComponent(service));
  }

  private failure(what: string, error: unknown): MeshError {
    return new MeshError(
      'UNAVAILABLE',
      `${what} the registry ${this.url} (${this.directory}): ${error instanceof Error ? error.message : String(error)}; ` +
        'give a directory in which this process may write in the `registry` option (file:DIR)',
      { delivery: 'not-sent', cause: error },
    );
  }
}
