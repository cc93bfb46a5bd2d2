/** Reads the live nodes of one service from its folder; the notices of the file system only make it look sooner. */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderWatch } from './folder-watch.js';
import { isNodeId, readNodeRecord, type NodeRecord } from './node-record.js';
import type { Look, StoreLookout } from './record-store.js';
import type { RegistryClock } from './registry-clock.js';
import type { WarnOnce } from './warn-once.js';

/** What expired this long ago may be removed by whoever sees it, in milliseconds. */
const REMOVE_AFTER_MS = 60_000;
/** No record is that long; such a file is not read at all. */
const MAX_FILE_BYTES = 1_048_576;

/** What a look-out needs. */
export interface FileLookoutDeps {
  readonly clock: RegistryClock;
  readonly warnOnce: WarnOnce;
  /** Something happened in the folder. */
  readonly changed: () => void;
}

/** The look-out for the service whose records are in `folder`. */
export class FileLookout implements StoreLookout {
  private readonly notices: FolderWatch;
  private generation: string | undefined;
  /** Those whose record stands and is over; one that leaves removes it. */
  private expired: string[] = [];

  constructor(
    private readonly service: string,
    private readonly folder: string,
    private readonly deps: FileLookoutDeps,
  ) {
    this.notices = new FolderWatch(folder, deps.changed);
  }

  async look(): Promise<Look> {
    let generation = await this.identify();
    for (;;) {
      const records = await this.list(generation);
      const now = await this.identify();
      if (now === generation) return { records, generation, lost: this.expired };
      // The folder was exchanged in between: the files of one must not be taken for those of the other.
      generation = now;
    }
  }

  close(): void {
    this.notices.close();
  }

  private async list(generation: string): Promise<NodeRecord[]> {
    if (generation !== this.generation) this.notices.stop();
    this.generation = generation;
    this.expired = [];
    // First the notices, then the files: what is written in between is noticed.
    this.notices.start();
    const names = await readdir(this.folder).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    });
    const records = await Promise.all(names.map((name) => this.read(name)));
    return records.filter((record) => record !== undefined);
  }

  /** Another folder than before: somebody removed it under living nodes, who write their records again. */
  private async identify(): Promise<string> {
    try {
      const { ino, birthtimeMs } = await stat(this.folder);
      return `${ino} ${birthtimeMs}`;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return '';
      throw error;
    }
  }

  private async read(name: string): Promise<NodeRecord | undefined> {
    const file = join(this.folder, name);
    try {
      if (name.startsWith('.')) {
        if (name.endsWith('.tmp')) await this.removeLeftover(file);
        return undefined;
      }
      if (!name.endsWith('.json')) return undefined;
      const id = name.slice(0, -'.json'.length);
      if (!isNodeId(id)) return this.ignore(name, 'its name is not a UUID');
      const { size } = await stat(file);
      if (size > MAX_FILE_BYTES) return this.ignore(name, `it is longer than ${MAX_FILE_BYTES} bytes`);
      return await this.parse(file, name, id, await readFile(file, 'utf8'));
    } catch (error) {
      // Withdrawn since the folder was listed.
      if (codeOf(error) === 'ENOENT') return undefined;
      return this.ignore(name, `it cannot be read: ${String(error)}`);
    }
  }

  private async parse(file: string, name: string, id: string, text: string): Promise<NodeRecord | undefined> {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.ignore(name, 'it is not JSON');
    }
    const { record, fault } = readNodeRecord(value, { service: this.service, id });
    if (record === undefined) return this.ignore(name, fault);
    const expiresAt = (value as Record<string, unknown>)['expires_at'];
    if (typeof expiresAt !== 'number' || !Number.isFinite(expiresAt)) {
      return this.ignore(name, 'its expires_at is not a number of milliseconds');
    }
    const now = this.deps.clock.now();
    if (expiresAt > now) return record;
    this.expired.push(id);
    if (expiresAt <= now - REMOVE_AFTER_MS) await rm(file, { force: true });
    return undefined;
  }

  /** A writer that died between writing and renaming left this behind. */
  private async removeLeftover(file: string): Promise<void> {
    const { mtimeMs } = await stat(file);
    if (mtimeMs <= Date.now() - REMOVE_AFTER_MS) await rm(file, { force: true });
  }

  private ignore(name: string, fault: string): undefined {
    const file = join(this.folder, name);
    this.deps.warnOnce.warn(`ignoring the file ${file} in the registry: ${fault}`);
    return undefined;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
