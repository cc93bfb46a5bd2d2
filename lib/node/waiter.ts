/** Who wants a node of a service, and which one. */
import type { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { PickRequest } from '../routing/picker.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { RemoteNode } from './remote-node.js';

/** Where a call wants to go within a service. */
export interface NodeWish extends PickRequest {
  /** This node and no other. */
  readonly nodeId?: string | undefined;
  /** Streams too go over the channel that the node has opened, where there is one, before it is dialled. */
  readonly back?: true | undefined;
  /** Rather not these nodes: a call that has failed there is made again. */
  readonly avoid?: ReadonlySet<string> | undefined;
  /** Only nodes of such records (`undefined`: of none). @default every node */
  readonly accepts?: ((record: NodeRecord | undefined) => boolean) | undefined;
}

/** Something that waits until a node can take it. */
export interface Waiter {
  readonly wish: NodeWish;
  /** True when the waiter needs no packet channel, but opens a stream of its own. */
  readonly anyNode: boolean;
  /** A node is there; with a packet channel unless `anyNode`. The waiter has left the queue. */
  take(node: RemoteNode, channel: PacketChannel | undefined): void;
  /** It can never be taken. The waiter has left the queue. */
  fail(error: MeshError): void;
}

/** Where waiters get their nodes. */
export interface WaitingRoom {
  readonly service: string;
  /** Gives the waiter a node as soon as there is one; `picked` is the one whose turn it is. */
  wait(waiter: Waiter, picked: RemoteNode | undefined): void;
  /** The waiter no longer wants one. */
  leave(waiter: Waiter): void;
  /** What was found, for the error of a call that waited in vain. */
  describe(wish: NodeWish): string;
}
