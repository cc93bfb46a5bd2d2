/**
 * The nodes of one service as last known: a value, and what each look at the registry makes of it.
 *
 * A record that is gone means a node that left, except right after the store itself may have lost its records (flushed,
 * restarted, failed over, unreachable for a while). Then everybody is missing though nobody left, and the nodes write
 * their records again within a heartbeat. So what was known before such an event is held for one TTL, each node until
 * it is seen again or says itself that it leaves. The same holds, for longer, for nodes that are lost with most of their service.
 */
import { isDeepStrictEqual } from 'node:util';
import type { NodeRecord } from './node-record.js';

/** An immutable view; the same object as long as nothing changed. */
export interface NodeSet {
  /** The live nodes by id. */
  readonly nodes: ReadonlyMap<string, NodeRecord>;
  /** Ids not seen since the store was last in doubt, and the instant (epoch ms) until which each is held. */
  readonly heldUntil: ReadonlyMap<string, number>;
}

export const EMPTY_NODE_SET: NodeSet = { nodes: new Map(), heldUntil: new Map() };

/** The store may have lost records: holds all that is known until `now + ttlMs`. */
export function doubtStore(set: NodeSet, now: number, ttlMs: number): NodeSet {
  if (set.nodes.size === 0) return set;
  return { nodes: set.nodes, heldUntil: new Map([...set.nodes.keys()].map((id) => [id, now + ttlMs])) };
}

/** Holds these nodes until an instant, also those that a look has just removed. */
export function holdNodes(set: NodeSet, records: readonly NodeRecord[], until: number): NodeSet {
  const nodes = new Map(set.nodes);
  const heldUntil = new Map(set.heldUntil);
  for (const record of records) {
    if (!nodes.has(record.id)) nodes.set(record.id, record);
    heldUntil.set(record.id, until);
  }
  return { nodes: nodes.size === set.nodes.size ? set.nodes : nodes, heldUntil };
}

/** The node said that it leaves: it is held no longer, so the next look that misses it removes it. */
export function releaseNode(set: NodeSet, id: string): NodeSet {
  if (!set.heldUntil.has(id)) return set;
  const heldUntil = new Map(set.heldUntil);
  heldUntil.delete(id);
  return { nodes: set.nodes, heldUntil };
}

/** What the registry holds now. `nodes` of the result is the same object when the set of nodes did not change. */
export function applyLook(set: NodeSet, found: Iterable<NodeRecord>, now: number): NodeSet {
  const nodes = new Map<string, NodeRecord>();
  for (const record of found) {
    const known = set.nodes.get(record.id);
    nodes.set(record.id, known !== undefined && isDeepStrictEqual(known, record) ? known : record);
  }
  const heldUntil = new Map<string, number>();
  for (const [id, until] of set.heldUntil) {
    const record = set.nodes.get(id);
    if (record === undefined || nodes.has(id) || until <= now) continue;
    nodes.set(id, record);
    heldUntil.set(id, until);
  }
  return { nodes: sameNodes(set.nodes, nodes) ? set.nodes : nodes, heldUntil };
}

/** The nodes in the order of their ids, so that equal sets look equal to everybody. */
export function listNodes(set: NodeSet): readonly NodeRecord[] {
  return [...set.nodes.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function sameNodes(a: ReadonlyMap<string, NodeRecord>, b: ReadonlyMap<string, NodeRecord>): boolean {
  if (a.size !== b.size) return false;
  for (const [id, record] of b) if (a.get(id) !== record) return false;
  return true;
}
