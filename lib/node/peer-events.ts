/** What becomes of the peers of a node, told once for each peer however many channels there are with it. */
import { MeshError } from '../protocol/mesh-error.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { MeshLogger } from './mesh-options.js';

/** A node at the other end, by what it said of itself or what the registry says of it. */
export interface MeshPeer {
  /** The name of its service; empty when it did not say. */
  readonly service: string;
  /** Its node id; `undefined` when a peer that knows part 1 of the protocol only has dialled this node. */
  readonly nodeId: string | undefined;
  /** `host:port`: of its record when this node dials it, else of its end of the connection. */
  readonly address: string;
}

/** The events of a node that are about its peers. Listeners are told in the turn in which it happens. */
export type PeerEvents = {
  /** A first packet channel with it stands: calls and events can go both ways. */
  peerConnected: (peer: MeshPeer) => void;
  /** Reaching it has failed; told once, until it is reached again. Attempts go on in the background as long as it is listed. */
  peerUnreachable: (peer: MeshPeer, error: MeshError) => void;
  /** It takes nothing new, since it is shutting down; what is open goes on. */
  peerDraining: (peer: MeshPeer) => void;
  /** The last packet channel with it is gone. `reason` is `undefined` when both sides had ended it in order. */
  peerLost: (peer: MeshPeer, reason: MeshError | undefined) => void;
};

/** The names of {@link PeerEvents}. */
export const PEER_EVENTS: readonly (keyof PeerEvents)[] = [
  'peerConnected',
  'peerUnreachable',
  'peerDraining',
  'peerLost',
];

/** Without a node id, a channel is a peer of its own. */
type PeerKey = string | PacketChannel;

interface Connected {
  readonly channels: Set<PacketChannel>;
  draining: boolean;
}

type Listener = (peer: MeshPeer, detail: MeshError | undefined) => void;

export class PeerEventBoard {
  private readonly listeners = new Map<keyof PeerEvents, Set<Listener>>();
  private readonly connected = new Map<PeerKey, Connected>();
  private readonly unreachable = new Set<string>();

  constructor(private readonly logger: MeshLogger) {}

  /** Returns the way to stop it. */
  on<Event extends keyof PeerEvents>(event: Event, listener: PeerEvents[Event]): () => void {
    let listeners = this.listeners.get(event);
    if (listeners === undefined) this.listeners.set(event, (listeners = new Set()));
    // Wrapped, so that the same function can listen twice and each stop by itself.
    const told: Listener = (peer, detail) => Reflect.apply(listener, undefined, [peer, detail]);
    listeners.add(told);
    return () => void listeners.delete(told);
  }

  /** A packet channel stands. */
  opened(channel: PacketChannel): void {
    const key = keyOf(channel);
    const connected = this.connected.get(key);
    if (connected !== undefined) {
      connected.channels.add(channel);
      return;
    }
    this.connected.set(key, { channels: new Set([channel]), draining: false });
    if (typeof key === 'string') this.unreachable.delete(key);
    this.tell('peerConnected', channel.peer);
  }

  /** The peer at the other end takes nothing new. */
  drains(channel: PacketChannel): void {
    const connected = this.connected.get(keyOf(channel));
    if (connected?.draining !== false) return;
    connected.draining = true;
    this.tell('peerDraining', channel.peer);
  }

  /** A packet channel is gone. */
  closed(channel: PacketChannel, reason: MeshError | undefined): void {
    const key = keyOf(channel);
    const connected = this.connected.get(key);
    if (connected?.channels.delete(channel) !== true || connected.channels.size > 0) return;
    this.connected.delete(key);
    this.tell('peerLost', channel.peer, reason);
  }

  /** An attempt to reach it has failed. */
  failed(peer: MeshPeer & { readonly nodeId: string }, error: MeshError): void {
    if (this.unreachable.has(peer.nodeId)) return;
    this.unreachable.add(peer.nodeId);
    this.tell('peerUnreachable', peer, error);
  }

  /** It is listed no longer. */
  forget(nodeId: string): void {
    this.unreachable.delete(nodeId);
  }

  private tell(event: keyof PeerEvents, { service, nodeId, address }: MeshPeer, detail?: MeshError): void {
    const listeners = this.listeners.get(event);
    if (listeners === undefined) return;
    const onError = (error: unknown): void =>
      this.logger.error(`a listener to '${event}' threw: ${MeshError.from(error).rawMessage}`);
    for (const listener of [...listeners]) {
      try {
        // An async function is a listener too.
        Promise.resolve(listener({ service, nodeId, address }, detail)).catch(onError);
      } catch (error) {
        onError(error);
      }
    }
  }
}

function keyOf(channel: PacketChannel): PeerKey {
  return channel.peer.nodeId ?? channel;
}
