/** The notices of the file system about one folder: they only make somebody look sooner who polls it anyway. */
import { watch, type FSWatcher } from 'node:fs';

/** Tells when something happens in a folder, as far as the system does. */
export class FolderWatch {
  private watcher: FSWatcher | undefined;
  private closed = false;

  constructor(
    private readonly folder: string,
    private readonly changed: () => void,
  ) {}

  /** Begins to listen unless it does already. Without the folder nothing happens; it is tried again at the next call. */
  start(): void {
    if (this.watcher !== undefined || this.closed) return;
    try {
      const watcher = watch(this.folder, (_event, name) => {
        // A temporary file is nothing yet; the rename that follows is noticed too.
        if (name === null || !name.startsWith('.')) this.changed();
      });
      watcher.on('error', () => this.stop());
      this.watcher = watcher;
    } catch {
      // No folder yet, or no more watches to be had from the system: polling finds what changes.
    }
  }

  /** Listens no more until the next {@link start}: the folder is another one now. */
  stop(): void {
    this.watcher?.close();
    this.watcher = undefined;
  }

  /** Listens no more. */
  close(): void {
    this.closed = true;
    this.stop();
  }
}
