/** A node without a port: it keeps channels to others, and they reach it over those. */
import { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { ServiceRegistry } from '../registry/registry.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Directories } from './directories.js';
import { ofCaller, type Drained } from './drain.js';
import type { InboundChannels } from './inbound-channels.js';
import type { ResolvedOptions } from './mesh-options.js';
import type { Reach } from './reach.js';

/** What it needs of its node. */
export interface PortlessReachDeps {
  readonly options: ResolvedOptions;
  readonly registry: ServiceRegistry;
  readonly directories: Directories;
  readonly inbound: InboundChannels;
}

/** The longest delay that a Node timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class PortlessReach implements Reach {
  readonly httpServer = undefined;
  /** A listener holds the process; between two connections, nothing else here would. */
  private hold: NodeJS.Timeout | undefined;
  /** The channels on which peers know this node; they end them once they have heard that it drains. */
  private readonly ending = new Set<PacketChannel>();
  private isAnnounced = false;

  constructor(private readonly deps: PortlessReachDeps) {}

  get announced(): boolean {
    return this.isAnnounced;
  }

  get record(): NodeRecord {
    throw new MeshError(
      'FAILED_PRECONDITION',
      'a mesh node that opens no port (listen: false) has no record',
    );
  }

  async open(): Promise<void> {
    await this.deps.registry.connect();
    this.hold = setInterval(() => undefined, MAX_TIMER_MS);
  }

  /** The channels that stand say nothing of it yet: they are opened anew. */
  announce(): Promise<void> {
    const { directories, options } = this.deps;
    this.isAnnounced = true;
    for (const node of directories.nodes) node.renewChannel();
    if (options.connectTo.length === 0) {
      options.logger.warn(
        'this node opens no port (listen: false) and connects to no service: only nodes that it calls can call it (option connectTo)',
      );
    }
    return Promise.resolve();
  }

  withdraw(): Promise<void> {
    this.isAnnounced = false;
    return Promise.resolve();
  }

  beginDrain(): Drained | undefined {
    const { directories, inbound } = this.deps;
    if (this.hold === undefined) return ofCaller(inbound, directories.dialledChannels);
    for (const node of directories.nodes) {
      // What this node itself still calls goes over channels of its own.
      const channel = node.releaseChannel();
      if (channel === undefined) continue;
      this.ending.add(channel);
      void channel.whenClosed.then(() => this.ending.delete(channel));
    }
    return { inbound: this.ending, dialled: [], raw: inbound.raw, streams: inbound.streams };
  }

  close(): Promise<void> {
    clearInterval(this.hold);
    this.hold = undefined;
    for (const channel of this.ending) channel.close();
    for (const channel of this.deps.inbound.raw) channel.close();
    return Promise.resolve();
  }
}
