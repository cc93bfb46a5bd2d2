/** Serving: the order in which a node becomes reachable, and in which it gives that up again without losing a call. */
import { drain } from './drain.js';
import type { ResolvedOptions } from './mesh-options.js';
import type { Reach } from './reach.js';
import { closedError } from './refusals.js';

export class Serving {
  private listening: Promise<void> | undefined;
  private announcing: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private isDraining = false;

  constructor(
    private readonly options: ResolvedOptions,
    readonly reach: Reach,
  ) {}

  /** True once nothing new is taken. */
  get draining(): boolean {
    return this.isDraining;
  }

  /** Reaches the registry and gets ready to answer. Rejects with a `MeshError` that names the registry or the port. */
  listen(): Promise<void> {
    if (this.isDraining) return Promise.reject(closedError());
    this.listening ??= this.open().catch((error: unknown) => {
      this.listening = undefined;
      throw error;
    });
    return this.listening;
  }

  /** Lets peers know that the node is there. Only after {@link listen}. */
  announce(): Promise<void> {
    if (this.isDraining) return Promise.reject(closedError());
    this.announcing ??= this.tellPeers().catch((error: unknown) => {
      this.announcing = undefined;
      throw error;
    });
    return this.announcing;
  }

  /**
   * Lets no further peers know, tells those that do, and waits until what is open has ended, at the longest `drainTimeoutMs`.
   * Idempotent.
   */
  stop(): Promise<void> {
    this.stopping ??= this.drainAndStop();
    return this.stopping;
  }

  private async open(): Promise<void> {
    await this.reach.open();
    if (!this.isDraining) return;
    await this.reach.close();
    throw closedError();
  }

  private async tellPeers(): Promise<void> {
    await this.reach.announce();
    if (this.isDraining) await this.reach.withdraw();
  }

  private async drainAndStop(): Promise<void> {
    const { reach, options } = this;
    this.isDraining = true;
    await reach.withdraw();
    const drained = reach.beginDrain();
    if (drained === undefined) return;
    const { open, left, tookMs } = await drain(drained, options.drainTimeoutMs);
    if (open > 0)
      options.logger.log(`drained ${open - left} of ${open} calls in ${(tookMs / 1_000).toFixed(1)} s`);
    await reach.close();
  }
}
