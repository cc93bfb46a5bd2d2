/** What a node does with what its peers ask for: the seam to Nest, or to a program without Nest. */
import type { Metadata } from '../protocol/packet.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent, Origin, PacketChannel } from '../transport/packet-channel.js';
import type { Peer } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';
import type { AnnouncedHandlers } from '../registry/announced.js';

/** What is known of a raw channel when it opens. */
export interface ChannelOpening {
  /** The name that was asked for; `undefined` for the default channel. */
  readonly name: string | undefined;
  readonly peer: Peer;
  /** The caller's `x-session-id`, or one made for it. */
  readonly sessionId: string;
  /** Every header that is not the mesh's own. */
  readonly metadata: Metadata;
  /** The packet channel that this raw channel is part of; `undefined` for one that has its stream to itself. */
  readonly carrier: PacketChannel | undefined;
}

export interface NodeHandlers {
  /** What is announced of them; read when the node announces itself. @default nothing */
  readonly announced?: AnnouncedHandlers;
  /** Must not throw; answers through `call`. */
  onRequest(call: InboundCall, origin: Origin): void;
  /**
   * Must not throw. Where the sender waits, a call for `handled` is to be completed when all handlers have ended; one for
   * `received` is completed by the node. Either is to be failed when there is no handler.
   */
  onEvent(event: InboundEvent, origin: Origin): void;
  /** True when there is a handler for raw channels of that name (`undefined`: the default one). */
  hasChannel(name: string | undefined): boolean;
  /** Must not throw. Only called when {@link hasChannel} holds. */
  onChannel(channel: RawChannel, opening: ChannelOpening): void;
}
