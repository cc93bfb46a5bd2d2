/** Where the contexts of calls, events and channels have their answers from; nothing is made before it is asked for. */
import type { ChannelOpening } from '../node/handlers.js';
import type { MeshNode } from '../node/mesh-node.js';
import { HEADER } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent, Origin, PacketChannel } from '../transport/packet-channel.js';
import type { Peer } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { MeshClientProxy } from './mesh.client-proxy.js';
import type { ContextSource } from './mesh.context.js';

/** What calls and events share: they came in on a packet channel. */
abstract class PacketSource implements ContextSource {
  abstract readonly deadline: number | undefined;
  abstract readonly signal: AbortSignal;
  protected abstract readonly own: Metadata | undefined;

  constructor(
    private readonly origin: Origin,
    private readonly node: MeshNode,
  ) {}

  get peer(): Peer {
    return this.origin.peer;
  }

  get sessionId(): string {
    return this.origin.opening.sessionId;
  }

  /** The headers of the channel, overlaid by what came with the packet. */
  get metadata(): Metadata | undefined {
    const { metadata } = this.origin.opening;
    for (const _ in metadata) return { ...metadata, ...this.own };
    return this.own;
  }

  get client(): MeshClientProxy {
    return clientOf(this.node, this.origin.peer, this.origin.channel);
  }
}

export class CallSource extends PacketSource {
  constructor(
    private readonly call: InboundCall,
    origin: Origin,
    node: MeshNode,
  ) {
    super(origin, node);
  }

  get deadline(): number | undefined {
    return this.call.deadline;
  }

  get signal(): AbortSignal {
    return this.call.signal;
  }

  protected get own(): Metadata | undefined {
    return this.call.metadata;
  }
}

export class EventSource extends PacketSource {
  constructor(
    private readonly event: InboundEvent,
    origin: Origin,
    node: MeshNode,
  ) {
    super(origin, node);
  }

  get deadline(): number | undefined {
    return this.waiting?.deadline;
  }

  /** Where nobody waits until the event is handled, it never aborts. */
  get signal(): AbortSignal {
    return this.waiting?.signal ?? new AbortController().signal;
  }

  private get waiting(): InboundCall | undefined {
    const { acknowledge } = this.event;
    return acknowledge?.when === 'handled' ? acknowledge.call : undefined;
  }

  protected get own(): Metadata | undefined {
    return this.event.metadata;
  }
}

export class ChannelSource implements ContextSource {
  readonly deadline = undefined;
  private controller: AbortController | undefined;

  constructor(
    private readonly raw: RawChannel,
    private readonly opening: ChannelOpening,
    private readonly node: MeshNode,
  ) {}

  get peer(): Peer {
    return this.opening.peer;
  }

  get sessionId(): string {
    return this.opening.sessionId;
  }

  get metadata(): Metadata {
    return this.opening.metadata;
  }

  /** Aborts when the channel is gone. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      const controller = new AbortController();
      this.controller = controller;
      void this.raw.whenClosed.then((error) => controller.abort(error));
    }
    return this.controller.signal;
  }

  get client(): MeshClientProxy {
    return clientOf(this.node, this.opening.peer, this.opening.carrier);
  }
}

/** A client for the caller: over the packet channel that it has called on, or else by its name and id. Throws a `MeshError` when it has neither. */
function clientOf(node: MeshNode, peer: Peer, channel: PacketChannel | undefined): MeshClientProxy {
  if (channel !== undefined) return MeshClientProxy.over(node, { channel });
  const { service, nodeId, address } = peer;
  if (service !== '')
    return MeshClientProxy.over(node, nodeId === undefined ? { service } : { service, nodeId, back: true });
  throw new MeshError(
    'FAILED_PRECONDITION',
    `the caller at ${address} cannot be called back: it holds no packet channel, as over plain HTTP/2, and its request does not name its service (header ${HEADER.serviceName})`,
    { delivery: 'not-sent' },
  );
}
