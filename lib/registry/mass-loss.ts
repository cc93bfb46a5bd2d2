/**
 * Tells a registry that fails from nodes that fail. Nodes die one by one; when most of those of a service are gone at once, and
 * none of them has said that it leaves, it is more likely that they could not write their records: a Redis that is full or that
 * turned into a replica, a network that is cut between them and it. (Eureka calls it self-preservation.)
 */
import type { NodeRecord } from './node-record.js';

/** A single node is never taken for many. */
const LEAST_LOST = 2;

interface Loss {
  readonly record: NodeRecord;
  readonly at: number;
}

/** Counts the nodes of one service that are gone without a word. */
export class MassLoss {
  private readonly lost = new Map<string, Loss>();
  private readonly left = new Map<string, number>();

  /** `windowMs`: losses that are no further apart are one; records that are written at intervals do not end at one instant. */
  constructor(private readonly windowMs: number) {}

  /** The node said that it leaves: it is not lost. */
  leaves(id: string, now: number): void {
    this.left.set(id, now);
    this.lost.delete(id);
  }

  /**
   * Nodes are gone, and so many others are still there. The result are those that have most likely not ended, most often none;
   * those that were lost a moment before are among them.
   */
  note(gone: readonly NodeRecord[], present: number, now: number): readonly NodeRecord[] {
    for (const [id, at] of this.left) if (now - at >= this.windowMs) this.left.delete(id);
    for (const [id, { at }] of this.lost) if (now - at >= this.windowMs) this.lost.delete(id);
    for (const record of gone) if (!this.left.has(record.id)) this.lost.set(record.id, { record, at: now });
    if (this.lost.size < LEAST_LOST || this.lost.size <= present) return [];
    const records = [...this.lost.values()].map(({ record }) => record);
    this.lost.clear();
    return records;
  }
}
