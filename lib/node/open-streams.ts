/** The streams that are open beside the packet channels, each with the peer at its other end. */

interface Closable {
  readonly whenClosed: Promise<unknown>;
}

/** A set that streams leave by themselves when they close. */
export class OpenStreams<T extends Closable> {
  private readonly peers = new Map<T, string>();

  /** `peer`: its node id, or its address when it has none. */
  add(stream: T, peer: string): void {
    this.peers.set(stream, peer);
    void stream.whenClosed.then(() => this.peers.delete(stream));
  }

  get size(): number {
    return this.peers.size;
  }

  /** How many there are with a peer; walks them, for the status. */
  countOf(peer: string): number {
    let count = 0;
    for (const one of this.peers.values()) if (one === peer) count += 1;
    return count;
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.peers.keys();
  }
}
