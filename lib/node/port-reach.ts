/** A node with a port: peers find its record in the registry, and dial it. */
import { MeshError } from '../protocol/mesh-error.js';
import { withAnnounced } from '../registry/announced.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { Announcement, ServiceRegistry } from '../registry/registry.js';
import { Listener } from '../transport/listener.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { ofCaller, type Drained } from './drain.js';
import type { NodeHandlers } from './handlers.js';
import type { InboundChannels } from './inbound-channels.js';
import type { ResolvedOptions } from './mesh-options.js';
import type { Reach } from './reach.js';
import { isLoopback } from './resolve-options.js';

/** What it needs of its node. */
export interface PortReachDeps {
  readonly options: ResolvedOptions;
  readonly registry: ServiceRegistry;
  readonly inbound: InboundChannels;
  handlers(): NodeHandlers | undefined;
  /** The packet channels that this node has opened, on which peers may call back. */
  readonly dialled: () => readonly PacketChannel[];
}

export class PortReach implements Reach {
  private listener: Listener | undefined;
  private announcement: Announcement | undefined;

  constructor(private readonly deps: PortReachDeps) {}

  get announced(): boolean {
    return this.announcement !== undefined;
  }

  get record(): NodeRecord {
    if (this.listener === undefined) {
      throw new MeshError('FAILED_PRECONDITION', 'the mesh node does not listen yet: call listen() first');
    }
    const { options } = this.deps;
    const { nodeId: id, service, advertiseHost: host, advertisePort, weight, zone } = options;
    const handlers = this.deps.handlers()?.announced ?? { events: [], idempotent: [] };
    const metadata = withAnnounced(options.metadata, { ...handlers, weight, zone });
    return { id, service, host, port: advertisePort ?? this.listener.port, metadata };
  }

  get httpServer(): Reach['httpServer'] {
    return this.listener?.unwrap();
  }

  async open(): Promise<void> {
    const { options, registry, inbound } = this.deps;
    const { host, tls, logger } = options;
    await registry.connect();
    const listener = new Listener(options, inbound);
    await listener.listen();
    this.listener = listener;
    if (tls === undefined && !isLoopback(host)) {
      logger.warn(
        `listening on ${host} without TLS: anyone who reaches the port can call this node (options tls, host)`,
      );
    }
  }

  async announce(): Promise<void> {
    this.announcement = await this.deps.registry.announce(this.record);
  }

  async withdraw(): Promise<void> {
    await this.announcement?.withdraw();
    this.announcement = undefined;
  }

  beginDrain(): Drained | undefined {
    const { inbound: channels, dialled } = this.deps;
    if (this.listener === undefined) return ofCaller(channels, dialled());
    this.listener.stopAccepting();
    const { channels: inbound, raw, streams } = channels;
    return { inbound, raw, streams, dialled: dialled() };
  }

  async close(): Promise<void> {
    const { listener } = this;
    this.listener = undefined;
    await listener?.close();
  }
}
