/** Where calls, events and channels go. */
import type { PacketChannel } from '../transport/packet-channel.js';

/** A service, or one node of it, found through the registry. */
export interface ServiceTarget {
  readonly service: string;
  /** This node and no other. */
  readonly nodeId?: string | undefined;
  /** Calls with the same key go to the same node for as long as it is there. */
  readonly key?: string | undefined;
}

/** A node that has called this one: over the channel that it has opened, where there is one, before it is dialled. */
export interface CallerTarget {
  readonly service: string;
  readonly nodeId: string;
  readonly back: true;
}

/** The peer at the other end of a channel that stands already: for reverse calls. */
export interface ChannelTarget {
  readonly channel: PacketChannel;
}

export type Target = ServiceTarget | CallerTarget | ChannelTarget;
