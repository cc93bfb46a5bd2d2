/** The connections between two nodes or services of a test mesh, and what can be wrong with them. */
import { checkAmount, type LinkFaults } from './link-rules.js';
import type { MemoryNetwork } from './memory-network.js';

/** From whom, to whom: nodes, services, or `*`. */
export type Direction = readonly [from: string, to: string];

/**
 * Faults add up, hold for the connections that stand and for those to come, and end with {@link heal} or when the mesh heals:
 * `await mesh.between('orders', 'billing').refuse().cut()`.
 */
export class MeshLink {
  /** Made by `TestMesh.between` and `TestMesh.oneWay`. */
  constructor(
    private readonly network: MemoryNetwork,
    private readonly directions: readonly Direction[],
  ) {}

  /**
   * Nothing arrives any more, and nobody is told: the half-open link of a pulled cable. Keep-alive is what notices. A connection
   * that stands until the link is healed gets everything then, as TCP would send it again.
   */
  drop(): this {
    return this.add({ dropped: true });
  }

  /** Everything takes this long, in ms, in each direction of the link: an answer comes after twice that. */
  delay(delayMs: number): this {
    return this.add({ delayMs: checkAmount('the delay, in ms,', delayMs) });
  }

  /** No more than this passes; with 0 the other side has stopped reading. */
  slow(bytesPerSecond: number): this {
    return this.add({ bytesPerSecond: checkAmount('the bytes per second', bytesPerSecond) });
  }

  /** New connections are refused, as by a port that nobody listens on. Those that stand go on. */
  refuse(): this {
    return this.add({ refused: true });
  }

  /** Ends what was said of this link, with the same names. */
  heal(): this {
    for (const [from, to] of this.directions) this.network.rules.remove(from, to);
    this.network.refresh();
    return this;
  }

  /** Breaks the connections that stand, as a reset does. Resolves when both sides know. New ones can be made. */
  async cut(): Promise<void> {
    await Promise.all(this.directions.map(([from, to]) => this.network.cut(from, to)));
  }

  private add(faults: Partial<LinkFaults>): this {
    for (const [from, to] of this.directions) this.network.rules.add(from, to, faults);
    this.network.refresh();
    return this;
  }
}
