/** Looks out for the nodes of one service. */
import type { NodeRecord } from './node-record.js';
import { applyLook, doubtStore, EMPTY_NODE_SET, listNodes, releaseNode } from './node-set.js';
import type { Look, StoreLookout } from './record-store.js';
import { StandingLook, type LookoutOwner } from './standing-look.js';

/** One standing look-out, shared by all watches of its service. */
export class Lookout extends StandingLook<Look, readonly NodeRecord[]> {
  private set = EMPTY_NODE_SET;
  private nodes: readonly NodeRecord[] | undefined;
  private generation: string | undefined;
  private records: readonly NodeRecord[] | undefined;

  constructor(store: StoreLookout, owner: LookoutOwner) {
    super('the nodes of a service', store, owner);
  }

  /** `leftId` is a node that said it left. */
  override hint(leftId?: string): void {
    if (leftId !== undefined) this.set = releaseNode(this.set, leftId);
    super.hint();
  }

  protected override listed({ records, generation }: Look): readonly NodeRecord[] {
    // Nothing changed and nobody is held: the cost of a look does not grow with the number of nodes.
    if (this.nodes !== undefined && records === this.records && generation === this.generation) {
      if (this.set.heldUntil.size === 0) return this.nodes;
    }
    this.records = records;
    const { clock, timings } = this.owner;
    const now = clock.now();
    if (generation !== this.generation) this.set = doubtStore(this.set, now, timings.ttlMs);
    this.generation = generation;
    const before = this.set.nodes;
    this.set = applyLook(this.set, records, now);
    if (this.nodes === undefined || this.set.nodes !== before) this.nodes = listNodes(this.set);
    return this.nodes;
  }
}
