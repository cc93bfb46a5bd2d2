/** Warns of each thing once, with bounded memory of what was warned about. */
import type { RegistryLogger } from './registry.js';

const MAX_REMEMBERED = 1_000;

/** Passes each different message on once; the oldest of 1,000 remembered ones is forgotten first. */
export class WarnOnce {
  private readonly warned = new Set<string>();

  constructor(private readonly logger: RegistryLogger) {}

  warn(message: string): void {
    if (this.warned.has(message)) return;
    this.warned.add(message);
    if (this.warned.size > MAX_REMEMBERED) {
      const [oldest] = this.warned;
      if (oldest !== undefined) this.warned.delete(oldest);
    }
    this.logger.warn(message);
  }
}
