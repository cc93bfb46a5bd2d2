/** What `status` and `on()` of server and client tell. */
import type { MeshNode } from '../node/mesh-node.js';
import { PEER_EVENTS, type MeshPeer, type PeerEvents } from '../node/peer-events.js';
import type { Target } from '../node/target.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { RegistryStatus } from '../registry/registry.js';

/**
 * How the node stands with its registry: `disconnected` before the first exchange, `connected`, or `stale` when it is away (the
 * nodes known until then go on being called).
 */
export type MeshStatus = 'disconnected' | 'connected' | 'stale';

/** The events of `on()`. */
export type MeshEvents = PeerEvents & {
  /** At each change of the status. */
  status: (status: MeshStatus) => void;
};

/** The status of a node by that of its registry. */
export function statusOf(status: RegistryStatus): MeshStatus {
  return status.state === 'idle' ? 'disconnected' : status.state;
}

/** True for the peers that a client with this target can mean; without a target, for all. */
export function concerns(target: Target | undefined, peer: MeshPeer): boolean {
  if (target === undefined) return true;
  if ('channel' in target) {
    const { nodeId, address } = target.channel.peer;
    return nodeId === undefined ? peer.address === address : peer.nodeId === nodeId;
  }
  return peer.service === target.service && (target.nodeId ?? peer.nodeId) === peer.nodeId;
}

/** Throws a `MeshError` (`INVALID_ARGUMENT`) for an event that there is not, naming those that there are. */
export function checkListener(event: unknown, callback: unknown): void {
  const known: readonly unknown[] = ['status', ...PEER_EVENTS];
  if (!known.includes(event))
    throw new MeshError(
      'INVALID_ARGUMENT',
      `there is no event '${String(event)}'; events: ${known.join(', ')}`,
    );
  if (typeof callback !== 'function')
    throw new MeshError(
      'INVALID_ARGUMENT',
      `on('${String(event)}') takes a function, not ${typeof callback}`,
    );
}

/** Has `callback` told of an event, where it is about peers that the target means. Returns the way to stop that. */
export function listenTo<Event extends keyof MeshEvents>(
  node: MeshNode,
  event: Event,
  callback: MeshEvents[Event],
  target?: Target,
): () => void {
  const tell = (...told: unknown[]): unknown => Reflect.apply(callback, undefined, told);
  if (event === 'status') return node.registry.onStatus((status) => tell(statusOf(status)));
  return node.on(event, (peer: MeshPeer, ...detail: unknown[]) =>
    concerns(target, peer) ? tell(peer, ...detail) : undefined,
  );
}
