/** Gathers how a node stands with each of its peers. */
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Directory } from './directory.js';
import { keyOf, type PeerStatus, type StreamCounts } from './peer-status.js';
import type { RemoteNode } from './remote-node.js';

/** Where the peers of a node are found. */
export interface PeerSources {
  /** The services that it calls. */
  readonly directories: readonly Directory[];
  /** The packet channels that peers have opened. */
  readonly inbound: Iterable<PacketChannel>;
  readonly streams: readonly StreamCounts[];
}

/** Every peer: the nodes of the services that are called, and all others that have dialled. */
export function peersOf({ directories, inbound, streams }: PeerSources): PeerStatus[] {
  const byPeer = new Map<string, PacketChannel[]>();
  for (const channel of inbound) {
    const key = keyOf(channel.peer);
    const channels = byPeer.get(key);
    if (channels === undefined) byPeer.set(key, [channel]);
    else channels.push(channel);
  }
  const peers: PeerStatus[] = [];
  for (const directory of directories) {
    for (const node of directory.known) {
      const dialledUs = (byPeer.get(node.id) ?? []).filter(({ peer }) => peer.service === directory.service);
      if (dialledUs.length > 0) byPeer.delete(node.id);
      peers.push(statusOfNode(directory.service, node, { inbound: dialledUs, streams }));
    }
  }
  for (const channels of byPeer.values()) peers.push(statusOfCaller(channels, streams));
  return peers;
}

interface Links {
  readonly inbound: readonly PacketChannel[];
  readonly streams: readonly StreamCounts[];
}

function statusOfNode(service: string, node: RemoteNode, { inbound, streams }: Links): PeerStatus {
  const own = node.ownChannel;
  const channels = own === undefined ? inbound : [own, ...inbound];
  const fromUs = node.isDialled;
  const fromThem = inbound.length > 0;
  return {
    service,
    nodeId: node.id,
    address: node.address,
    state: node.state,
    dialledBy: fromUs && fromThem ? 'both' : fromUs ? 'self' : fromThem ? 'peer' : undefined,
    ...countsOf(node.id, channels, streams),
    load: {
      open: node.load.open,
      latencyMs: node.load.latencyMs(performance.now()),
      state: node.health.state,
    },
    lastError: node.lastError,
  };
}

function statusOfCaller(channels: readonly PacketChannel[], streams: readonly StreamCounts[]): PeerStatus {
  const [first] = channels;
  const { service = '', nodeId, address = '' } = first?.peer ?? {};
  return {
    service,
    nodeId,
    address,
    state: channels.some((channel) => channel.usable) ? 'connected' : 'draining',
    dialledBy: 'peer',
    ...countsOf(nodeId ?? address, channels, streams),
    load: undefined,
    lastError: undefined,
  };
}

function countsOf(
  peer: string,
  channels: readonly PacketChannel[],
  streams: readonly StreamCounts[],
): { openCalls: number; openChannels: number } {
  let openCalls = 0;
  let openChannels = 0;
  for (const channel of channels) openCalls += channel.openCalls;
  for (const one of streams) {
    openCalls += one.callsOf(peer);
    openChannels += one.channelsOf(peer);
  }
  return { openCalls, openChannels };
}
