/** Serving: the port, the record in the registry, and how both are given up again without losing a call. */
import { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { Announcement, ServiceRegistry } from '../registry/registry.js';
import { Listener } from '../transport/listener.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { drain } from './drain.js';
import type { InboundChannels } from './inbound-channels.js';
import { withAnnounced } from '../registry/announced.js';
import type { NodeHandlers } from './handlers.js';
import type { ResolvedOptions } from './mesh-options.js';
import { closedError } from './refusals.js';
import { isLoopback } from './resolve-options.js';

/** What serving needs of its node. */
export interface ServingDeps {
  readonly options: ResolvedOptions;
  readonly registry: ServiceRegistry;
  readonly inbound: InboundChannels;
  handlers(): NodeHandlers | undefined;
  /** The packet channels that this node has opened, on which peers may call back. */
  dialled(): readonly PacketChannel[];
}

export class Serving {
  private listener: Listener | undefined;
  private listening: Promise<void> | undefined;
  private announcement: Announcement | undefined;
  private announcing: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private isDraining = false;

  constructor(private readonly deps: ServingDeps) {}

  /** True while the port is bound. */
  get isListening(): boolean {
    return this.listener !== undefined;
  }

  /** True while the registry lists the node. */
  get announced(): boolean {
    return this.announcement !== undefined;
  }

  /** True once nothing new is taken. */
  get draining(): boolean {
    return this.isDraining;
  }

  /** The record under which the node is found. Only while it listens. */
  get record(): NodeRecord {
    if (this.listener === undefined) throw notListening();
    const { nodeId: id, service, advertiseHost: host, advertisePort, metadata: own } = this.deps.options;
    const announced = this.deps.handlers()?.announced;
    const metadata = announced === undefined ? own : withAnnounced(own, announced);
    return { id, service, host, port: advertisePort ?? this.listener.port, metadata };
  }

  /** The server of node:http2 underneath; `undefined` while it does not listen. */
  get httpServer(): ReturnType<Listener['unwrap']> | undefined {
    return this.listener?.unwrap();
  }

  /** Reaches the registry and binds the port. Rejects with a `MeshError` that names the registry or the port. */
  listen(): Promise<void> {
    if (this.stopping !== undefined) return Promise.reject(closedError());
    this.listening ??= this.openListener().catch((error: unknown) => {
      this.listening = undefined;
      throw error;
    });
    return this.listening;
  }

  /** Writes the record into the registry and keeps it alive. Only after {@link listen}. */
  announce(): Promise<void> {
    if (this.stopping !== undefined) return Promise.reject(closedError());
    this.announcing ??= this.writeRecord().catch((error: unknown) => {
      this.announcing = undefined;
      throw error;
    });
    return this.announcing;
  }

  /**
   * Withdraws the record, tells the peers, and waits until what is open has ended, at the longest `drainTimeoutMs`; then stops
   * listening. Idempotent.
   */
  stop(): Promise<void> {
    this.stopping ??= this.drainAndStop();
    return this.stopping;
  }

  private async openListener(): Promise<void> {
    this.refuseWhenStopped();
    const { options, registry, inbound } = this.deps;
    const { host, tls, logger } = options;
    await registry.connect();
    const listener = new Listener(options, inbound);
    await listener.listen();
    if (this.stopping !== undefined) {
      await listener.close();
      this.refuseWhenStopped();
    }
    this.listener = listener;
    if (tls === undefined && !isLoopback(host)) {
      logger.warn(
        `listening on ${host} without TLS: anyone who reaches the port can call this node (options tls, host)`,
      );
    }
  }

  private async writeRecord(): Promise<void> {
    this.refuseWhenStopped();
    const announcement = await this.deps.registry.announce(this.record);
    if (this.stopping !== undefined) await announcement.withdraw();
    else this.announcement = announcement;
  }

  private async drainAndStop(): Promise<void> {
    const { deps } = this;
    const { drainTimeoutMs, logger } = deps.options;
    this.isDraining = true;
    await this.announcement?.withdraw();
    this.announcement = undefined;
    const { listener } = this;
    const { channels: inbound, raw, streams } = deps.inbound;
    const dialled = deps.dialled();
    // A node that only makes calls has nobody to tell.
    const serves = raw.size > 0 || streams.size > 0 || dialled.some(({ servedCalls }) => servedCalls > 0);
    if (listener === undefined && !serves) return;
    listener?.stopAccepting();
    const { open, left, tookMs } = await drain({ inbound, raw, streams, dialled }, drainTimeoutMs);
    if (open > 0) logger.log(`drained ${open - left} of ${open} calls in ${Math.round(tookMs)} ms`);
    this.listener = undefined;
    await listener?.close();
  }

  private refuseWhenStopped(): void {
    if (this.stopping !== undefined) throw closedError();
  }
}

function notListening(): MeshError {
  return new MeshError('FAILED_PRECONDITION', 'the mesh node does not listen yet: call listen() first');
}
