/** The sessions with nodes outside of the subset: each is closed when nothing has used it for a while. */
import type { RemoteNode } from './remote-node.js';

export class IdleSessions {
  private readonly dialled = new Set<RemoteNode>();
  /** How much had gone over the sessions of nodes outside at the last look. */
  private seen = new Map<RemoteNode, number>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    /** A session is closed after this long without use, or up to twice as long; 0 = never. */
    private readonly idleMs: number,
    /** True for the nodes whose sessions stay. */
    private readonly stays: (node: RemoteNode) => boolean,
  ) {}

  /** A node may have been dialled, or its session lost. */
  note(node: RemoteNode): void {
    if (node.isDialled) this.dialled.add(node);
    else this.dialled.delete(node);
  }

  /** The members may be others now. */
  check(): void {
    if (this.idleMs === 0 || this.timer !== undefined) return;
    for (const node of this.dialled) {
      if (this.stays(node)) continue;
      this.timer = setInterval(() => this.look(), this.idleMs).unref();
      this.look();
      return;
    }
  }

  /** Closes none any more. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private look(): void {
    const before = this.seen;
    this.seen = new Map();
    for (const node of this.dialled) {
      if (this.stays(node) || !node.isDialled) continue;
      const { traffic } = node;
      if (!node.busy && before.get(node) === traffic) node.release();
      else this.seen.set(node, traffic);
    }
    if (this.seen.size === 0) this.stop();
  }
}
