/** The words in which a node says how it stands with each of its peers. */
import type { MeshError } from '../protocol/mesh-error.js';
import type { HealthState } from '../routing/ejection.js';
import type { MeshPeer } from './peer-events.js';

/**
 * `idle`: listed, and nothing was sent to it yet; `connecting`; `connected`; `draining`: it takes nothing new, and what is open
 * goes on; `unreachable`: the last attempt has failed, and it is tried again in the background.
 */
export type PeerState = 'idle' | 'connecting' | 'connected' | 'draining' | 'unreachable';

/** What calls of this node to a peer are chosen by. */
export interface PeerLoad {
  /** Calls of this node that are open there. */
  readonly open: number;
  /** How long its answers take, in ms: an average that follows peaks at once; 0 while nothing is known. */
  readonly latencyMs: number;
  /** `open`: it is left out, since its calls have failed; `half-open`: one call tries it. */
  readonly state: HealthState;
}

/** How this node stands with a peer, at the moment of asking. */
export interface PeerStatus extends MeshPeer {
  readonly state: PeerState;
  /** Who has opened the connection; `both` when each side has, `undefined` while there is none. */
  readonly dialledBy: 'self' | 'peer' | 'both' | undefined;
  /** Calls under way with it, in both directions, those on streams of their own included. */
  readonly openCalls: number;
  /** Raw channels with it, in both directions. */
  readonly openChannels: number;
  /** What its calls are chosen by; `undefined` for a peer that this node does not call. */
  readonly load: PeerLoad | undefined;
  /** Why the last attempt to reach it has failed, or why the last connection was lost; `undefined` once it is reached. */
  readonly lastError: MeshError | undefined;
}

/** The streams of a peer beside its packet channels. `peer`: its node id, or its address when it has none. */
export interface StreamCounts {
  callsOf(peer: string): number;
  channelsOf(peer: string): number;
}

/** What the streams of a peer are counted under. */
export function keyOf({ nodeId, address }: MeshPeer): string {
  return nodeId ?? address;
}
