/** Looks out for the nodes of one service. */
import { MassLoss } from './mass-loss.js';
import type { NodeRecord } from './node-record.js';
import { applyLook, doubtStore, EMPTY_NODE_SET, holdNodes, listNodes, releaseNode } from './node-set.js';
import type { Look, StoreLookout } from './record-store.js';
import { StandingLook, type LookoutOwner } from './standing-look.js';

/** For so many leases nodes are held that are gone with most of their service: a minute by default. */
const LEASES_HELD = 6;

/** One standing look-out, shared by all watches of its service. */
export class Lookout extends StandingLook<Look, readonly NodeRecord[]> {
  private set = EMPTY_NODE_SET;
  private nodes: readonly NodeRecord[] | undefined;
  private generation: string | undefined;
  private records: readonly NodeRecord[] | undefined;
  private readonly losses: MassLoss;

  constructor(
    private readonly service: string,
    store: StoreLookout,
    owner: LookoutOwner,
  ) {
    super('the nodes of a service', store, owner);
    this.losses = new MassLoss(owner.timings.ttlMs);
  }

  /** `leftId` is a node that said it left. */
  override hint(leftId?: string): void {
    if (leftId !== undefined) {
      this.set = releaseNode(this.set, leftId);
      this.losses.leaves(leftId, this.owner.clock.now());
    }
    super.hint();
  }

  protected override listed({ records, generation, lost }: Look): readonly NodeRecord[] {
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
    if (lost !== undefined && lost.length > 0) this.holdLost(lost, now);
    this.set = applyLook(this.set, records, now);
    if (this.nodes === undefined || this.set.nodes !== before) this.nodes = listNodes(this.set);
    return this.nodes;
  }

  private holdLost(lost: readonly string[], now: number): void {
    const { nodes, heldUntil } = this.set;
    const gone = lost.filter((id) => !heldUntil.has(id)).flatMap((id) => nodes.get(id) ?? []);
    const present = nodes.size - gone.length;
    const held = this.losses.note(gone, present, now);
    if (held.length === 0) return;
    const holdMs = LEASES_HELD * this.owner.timings.ttlMs;
    this.set = holdNodes(this.set, held, now + holdMs);
    this.owner.logger.warn(
      `${held.length} nodes of ${this.service} are gone from the registry at once without a word, and ${present} are left: ` +
        `they go on being used for ${holdMs / 1_000} s, unless they come back, leave or cannot be reached`,
    );
  }
}
