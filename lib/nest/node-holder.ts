/** The node that all clients derived from one share. */
import type { MeshNode } from '../node/mesh-node.js';
import { statusOf, type MeshStatus } from './mesh.status.js';

/** Begins to listen to a node; returns the way to stop that. */
export type Listen = (node: MeshNode) => () => void;

/** Makes the node when it is first asked for, and anew after `close()`. */
export class NodeHolder {
  private current: MeshNode | undefined;
  /** Who listens, each with the way to stop it. */
  private readonly listening = new Map<Listen, () => void>();
  /** Those that `close()` ends. */
  private readonly untilClosed = new Set<Listen>();

  constructor(
    /** False for a node that somebody else closes. */
    private readonly owned: boolean,
    private readonly make: () => MeshNode,
  ) {}

  get node(): MeshNode {
    if (this.current === undefined) {
      const node = this.make();
      this.current = node;
      for (const [listen, stop] of this.listening) {
        stop();
        this.listening.set(listen, listen(node));
      }
    }
    return this.current;
  }

  get status(): MeshStatus {
    return statusOf(this.node.registry.status);
  }

  /** Listens to this node, and to those that are made after it; returns the way to stop that. */
  listen(listen: Listen): () => void {
    this.listening.set(listen, listen(this.node));
    return () => this.stop(listen);
  }

  /** {@link listen}, until {@link close}. */
  listenUntilClosed(listen: Listen): void {
    this.untilClosed.add(listen);
    this.listen(listen);
  }

  /** Closes the node, unless it is somebody else's. */
  async close(): Promise<void> {
    const listens = [...this.untilClosed];
    this.untilClosed.clear();
    if (this.owned) {
      const { current } = this;
      this.current = undefined;
      await current?.close();
    }
    for (const listen of listens) this.stop(listen);
  }

  private stop(listen: Listen): void {
    this.listening.get(listen)?.();
    this.listening.delete(listen);
  }
}
