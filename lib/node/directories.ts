/** The services that this node calls, each with its directory. */
import type { Directory } from './directory.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { closedError } from './refusals.js';
import type { RemoteNode } from './remote-node.js';

export class Directories {
  private readonly byService = new Map<string, Directory>();
  private closed = false;

  constructor(private readonly make: (service: string) => Directory) {}

  /** False once {@link close} was called: until the drain of the node is over, handlers that are at work may call others. */
  get isOpen(): boolean {
    return !this.closed;
  }

  /** The directory of a service, made when it is first asked for. Throws a `MeshError` (`not-sent`) once they are closed. */
  of(service: string): Directory {
    let directory = this.byService.get(service);
    if (directory !== undefined) return directory;
    if (this.closed) throw closedError();
    directory = this.make(service);
    this.byService.set(service, directory);
    return directory;
  }

  /** The directory of a service that was asked for before. */
  existing(service: string): Directory | undefined {
    return this.byService.get(service);
  }

  /** All of them. */
  get all(): readonly Directory[] {
    return [...this.byService.values()];
  }

  /** All nodes that are known. */
  get nodes(): readonly RemoteNode[] {
    return this.all.flatMap((directory) => directory.known);
  }

  /** Keeps a channel to every node of these services from now on. */
  keepConnected(services: readonly string[]): void {
    for (const service of services) this.of(service).keepConnected(true);
  }

  /** Ends {@link keepConnected}; the channels stay. */
  stopKeeping(): void {
    for (const directory of this.all) directory.keepConnected(false);
  }

  /** The packet channels that this node has opened. */
  get dialledChannels(): readonly PacketChannel[] {
    return this.all.flatMap((directory) => directory.dialledChannels);
  }

  /** Fails what waits or is open, and closes all connections. */
  async close(): Promise<void> {
    this.closed = true;
    const { all } = this;
    this.byService.clear();
    await Promise.all(all.map((directory) => directory.close()));
  }
}
