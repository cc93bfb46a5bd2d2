/** The node that all clients derived from one share. */
import type { MeshNode } from '../node/mesh-node.js';
import { statusOf, type MeshStatus } from './mesh.status.js';

/** Told of each change of the status. */
export type StatusListener = (status: MeshStatus) => void;

/** Makes the node when it is first asked for, and anew after `close()`; listeners stay. */
export class NodeHolder {
  private current: MeshNode | undefined;
  private readonly listeners = new Set<StatusListener>();
  private unlisten: (() => void) | undefined;

  constructor(
    /** False for a node that somebody else closes. */
    private readonly owned: boolean,
    private readonly make: () => MeshNode,
  ) {}

  get node(): MeshNode {
    if (this.current === undefined) {
      this.current = this.make();
      if (this.listeners.size > 0) this.listenTo(this.current);
    }
    return this.current;
  }

  get status(): MeshStatus {
    return statusOf(this.node.registry.status);
  }

  /** Returns the way to stop it. */
  onStatus(listener: StatusListener): () => void {
    const { node } = this;
    // Only then, since `ctx.client` makes a holder for each call.
    if (this.listeners.size === 0) this.listenTo(node);
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.unlisten?.();
    };
  }

  async close(): Promise<void> {
    if (!this.owned) return;
    const { current } = this;
    this.current = undefined;
    await current?.close();
  }

  private listenTo(node: MeshNode): void {
    this.unlisten?.();
    this.unlisten = node.registry.onStatus((status) => {
      for (const listener of this.listeners) listener(statusOf(status));
    });
  }
}
