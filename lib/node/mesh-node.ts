/** A node: registry, sessions, channels and handlers of one running instance. */
import type { MeshError } from '../protocol/mesh-error.js';
import type { NodeRecord } from '../registry/node-record.js';
import { openRegistry } from '../registry/registry-url.js';
import type { RegistryStatus, ServiceRegistry } from '../registry/registry.js';
import { DeadlineQueue } from '../transport/deadline-queue.js';
import type { CallingStream } from '../transport/calling-stream.js';
import type { Network } from '../transport/network.js';
import { OutboundCall, type CallObserver, type CallRequest } from '../transport/outbound-call.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { Directories } from './directories.js';
import { Directory } from './directory.js';
import { newEventCounts, type EventCounts, type EventStatus } from './event-counts.js';
import type { NodeHandlers } from './handlers.js';
import { HedgedCall, type MakeCall, type RunningCall } from './hedged-call.js';
import { InboundChannels } from './inbound-channels.js';
import { InboundPackets } from './inbound-packets.js';
import { servedCalls } from './drain.js';
import type { MeshOptions, ResolvedOptions } from './mesh-options.js';
import {
  OutboundStreams,
  type OpenChannelRequest,
  type OpenedChannel,
  type StreamCallRequest,
} from './outbound-streams.js';
import { PeerEventBoard, type PeerEvents } from './peer-events.js';
import type { PeerStatus } from './peer-status.js';
import { peersOf } from './peers.js';
import { OutboundEvents, type OutboundEvent, type PublishReceipt } from './outbound-events.js';
import { OwnLoad, type LoadStatus } from './own-load.js';
import { closedError } from './refusals.js';
import { resolveOptions } from './resolve-options.js';
import { PortReach } from './port-reach.js';
import { PortlessReach } from './portless-reach.js';
import type { Reach } from './reach.js';
import { Serving } from './serving.js';
import { ChannelStreams, NodeStreams, type StreamTarget } from './stream-targets.js';
import { Subscribers } from './subscribers.js';
import type { CallerTarget, ServiceTarget, Target } from './target.js';

/** What other parts see of the life of a node. */
export interface NodeStatus {
  readonly nodeId: string;
  readonly service: string;
  readonly listening: boolean;
  readonly announced: boolean;
  readonly draining: boolean;
  readonly registry: RegistryStatus;
  readonly events: EventStatus;
  readonly load: LoadStatus;
  /** The nodes of every service that this node calls, and all others that have dialled it. */
  readonly peers: readonly PeerStatus[];
}

export class MeshNode {
  readonly options: ResolvedOptions;
  readonly registry: ServiceRegistry;
  /** The time limits of calls, in both directions. */
  readonly deadlines = new DeadlineQueue();
  /** What has become of events so far; who answers them counts there. */
  readonly eventCounts: EventCounts = newEventCounts();
  private readonly directories: Directories;
  private readonly subscribers: Subscribers;
  private readonly events: OutboundEvents;
  private readonly inbound: InboundChannels;
  private readonly outbound: OutboundStreams;
  private readonly packets: InboundPackets;
  private readonly peers: PeerEventBoard;
  private readonly serving: Serving;
  private readonly load: OwnLoad;
  private closing: Promise<void> | undefined;

  /**
   * Throws a `MeshError` (`INVALID_ARGUMENT`) that lists every fault of the options. Nothing is opened yet. `network` is for
   * `nestjs-mesh/testing`; without it the node uses TCP and TLS.
   */
  constructor(given: MeshOptions | ResolvedOptions, network?: Network) {
    const resolved = 'limits' in given && 'advertiseHost' in given ? given : resolveOptions(given);
    const options = network === undefined ? resolved : { ...resolved, network };
    const registry = registryOf(options);
    const packets = new InboundPackets({
      options,
      onWish: (wish, channel) => this.inbound.onWish(wish, channel),
      events: this.eventCounts,
      onDrain: (channel) => this.onDrain(channel),
      onLoad: (report, { peer: { nodeId, service } }) => {
        if (nodeId !== undefined) this.directories.existing(service)?.heard(nodeId, report);
      },
      onClosed: (channel, error) => this.onClosed(channel, error),
    });
    const handlers = (): NodeHandlers | undefined => packets.handlers;
    const peers = new PeerEventBoard(options.logger);
    const servesOnChannels = (): boolean => !options.listen && this.serving.reach.announced;
    this.options = options;
    this.registry = registry;
    this.packets = packets;
    this.peers = peers;
    this.directories = new Directories(
      (service) =>
        new Directory(service, registry, { options, packets, peers, servesOnChannels }, this.inbound),
    );
    this.subscribers = new Subscribers(registry, this.directories);
    this.events = new OutboundEvents({
      options,
      directories: this.directories,
      subscribers: this.subscribers,
      deadlines: this.deadlines,
      counts: this.eventCounts,
    });
    this.outbound = new OutboundStreams(options);
    this.inbound = new InboundChannels({
      options,
      packets,
      handlers,
      onEvent: (event, origin) => packets.onEvent(event, origin),
      draining: () => this.serving.draining,
      announced: () => this.serving.reach.announced,
      onFault: (message) => options.logger.warn(message),
      onChannel: (channel) => this.onInbound(channel),
    });
    const { inbound, directories } = this;
    const reach = options.listen
      ? new PortReach({ options, registry, inbound, handlers, dialled: () => directories.dialledChannels })
      : new PortlessReach({ options, registry, inbound, directories });
    this.serving = new Serving(options, reach);
    this.load = new OwnLoad({
      options,
      deadlines: this.deadlines,
      channels: () => (options.listen ? inbound.channels : directories.dialledChannels),
      open: () => {
        const { channels, streams } = inbound;
        return servedCalls({ inbound: channels, dialled: directories.dialledChannels, streams });
      },
    });
  }

  get id(): string {
    return this.options.nodeId;
  }

  get service(): string {
    return this.options.service;
  }

  get status(): NodeStatus {
    const { draining, reach } = this.serving;
    const { id: nodeId, service, inbound, outbound } = this;
    const peers = peersOf({
      directories: this.directories.all,
      inbound: inbound.channels,
      streams: [inbound, outbound],
    });
    return {
      nodeId,
      service,
      listening: reach.httpServer !== undefined,
      announced: reach.announced,
      draining,
      registry: this.registry.status,
      events: { ...this.eventCounts },
      load: this.load.status,
      peers,
    };
  }

  /** Calls `listener` at each event about a peer; returns the way to stop that. What it throws is logged. */
  on<Event extends keyof PeerEvents>(event: Event, listener: PeerEvents[Event]): () => void {
    return this.peers.on(event, listener);
  }

  /** The record under which this node is found. Only while it listens. */
  get record(): NodeRecord {
    return this.serving.reach.record;
  }

  /** The server of node:http2 underneath; `undefined` while it does not listen. */
  get httpServer(): Reach['httpServer'] {
    return this.serving.reach.httpServer;
  }

  /** Says who answers what peers ask for. */
  setHandlers(handlers: NodeHandlers): void {
    this.packets.handlers = this.load.limit(handlers);
  }

  /**
   * Reaches the registry and binds the port; calls are answered from here on, but nobody is told of the node before
   * {@link announce}. Rejects with a `MeshError` that names the registry or the port.
   */
  listen(): Promise<void> {
    return this.serving.listen();
  }

  /**
   * Writes the record into the registry and keeps it alive; without a port, says on its channels that it can be called. Keeps
   * channels to the services of `connectTo` from here on. Only after {@link listen}.
   */
  async announce(): Promise<void> {
    await this.serving.announce();
    if (!this.serving.draining) this.load.start();
    this.keepConnected();
  }

  /** Reaches the registry, and keeps channels to the services of `connectTo` from here on. */
  async connect(): Promise<void> {
    this.keepConnected();
    await this.registry.connect();
  }

  /** Keeps channels to the services of `connectTo` until the node is stopped. */
  keepConnected(): void {
    if (!this.serving.draining) this.directories.keepConnected(this.options.connectTo);
  }

  /** Makes a call. The observer is told of its packets or of its failure, never both of an end and more. */
  request(target: Target, request: CallRequest, observer: CallObserver): RunningCall {
    if ('channel' in target) {
      const { channel } = target;
      const call = new OutboundCall(request, channel.peer.service, observer, this.deadlines);
      channel.request(call);
      return call;
    }
    const { hedgeAfterMs } = request;
    if (hedgeAfterMs !== undefined && target.nodeId === undefined && this.directories.isOpen)
      return this.hedge(target, request, observer, hedgeAfterMs);
    const call = new OutboundCall(request, target.service, observer, this.deadlines);
    if (!this.directories.isOpen) {
      call.fail(closedError());
      return call;
    }
    this.directories.of(target.service).place(call, target);
    return call;
  }

  private hedge(
    target: ServiceTarget | CallerTarget,
    request: CallRequest,
    observer: CallObserver,
    afterMs: number,
  ): RunningCall {
    const directory = this.directories.of(target.service);
    const make: MakeCall = (told, avoid) => {
      const call = new OutboundCall(request, target.service, told, this.deadlines);
      directory.place(call, avoid === undefined ? target : { ...target, avoid: new Set([avoid]) });
      return call;
    };
    return new HedgedCall(make, observer, afterMs, () => directory.recovery.mayHedge(request));
  }

  /**
   * Sends an event; resolves when it was handed to the transport or, with `ack`, acknowledged. Rejects with a `MeshError`, or with
   * what a handler threw.
   */
  emit(target: Target, event: OutboundEvent): Promise<void> {
    return this.events.emit(target, event);
  }

  /**
   * Sends an event to every known node of a service. Resolves with the ids of those that have it, rejects when none has. A node
   * that could not be reached is logged and counted.
   */
  broadcast(service: string, event: OutboundEvent): Promise<string[]> {
    return this.events.broadcast(service, event);
  }

  /**
   * Sends an event to one node of every service that announces a matching pattern. Resolves with those that have it, also when
   * that is nobody; rejects when it reached none of several. A service that it did not reach is logged and counted.
   */
  publish(event: OutboundEvent): Promise<PublishReceipt[]> {
    return this.events.publish(event);
  }

  /** Opens a raw channel. Rejects with a `MeshError`: `NOT_FOUND` when the peer has no channel of that name. */
  async openChannel(target: Target, request: OpenChannelRequest): Promise<OpenedChannel> {
    return this.outbound.openChannel(this.streamsTo(target), request);
  }

  /** Makes a call on a stream of its own: with a stream of input, or with an answer that is read at the reader's pace. */
  async openCall(target: Target, request: StreamCallRequest): Promise<CallingStream> {
    return this.outbound.openCall(this.streamsTo(target), request);
  }

  /** The nodes of a service that the registry lists, once it has answered. */
  async discover(service: string): Promise<readonly NodeRecord[]> {
    const directory = this.directories.of(service);
    await directory.ready;
    return directory.known.flatMap(({ listed, record }) => (listed && record) || []);
  }

  /**
   * Takes the node out of service: withdraws it, tells its peers, and waits until what is open has ended, at the longest
   * `drainTimeoutMs`; then stops listening. Calls of this node go on. Idempotent.
   */
  stopServing(): Promise<void> {
    this.directories.stopKeeping();
    this.load.stop();
    return this.serving.stop();
  }

  /** {@link stopServing}, then ends everything else: own calls fail with `UNAVAILABLE`. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    await this.stopServing();
    this.outbound.close();
    this.subscribers.close();
    await this.directories.close();
    await this.registry.close();
    this.deadlines.clear();
  }

  private streamsTo(target: Target): StreamTarget {
    if ('channel' in target) return new ChannelStreams(target.channel, this.options.connectTimeoutMs);
    return new NodeStreams(this.directories.of(target.service), target);
  }

  /** The channel of a node that dialled us serves our own calls to it too. */
  private onInbound(channel: PacketChannel): void {
    this.peers.opened(channel);
    this.directories.existing(channel.peer.service)?.dialledUs(channel);
  }

  private onDrain(channel: PacketChannel): void {
    const { nodeId, service } = channel.peer;
    // One that has a successor already says nothing of the node.
    if (!channel.dialled && nodeId !== undefined && this.inbound.ofNode(nodeId) !== channel) return;
    if (nodeId !== undefined) this.directories.existing(service)?.drained(nodeId);
    this.peers.drains(channel);
  }

  private onClosed(channel: PacketChannel, error: MeshError | undefined): void {
    this.inbound.remove(channel);
    if (!channel.dialled) this.directories.existing(channel.peer.service)?.leftUs();
    this.peers.closed(channel, error);
  }
}

function registryOf(options: ResolvedOptions): ServiceRegistry {
  const { registry, redis, heartbeatIntervalMs, ttlMs, registryTimeoutMs, logger } = options;
  const { leaseThread, maxBlockedMs } = options;
  if (typeof registry !== 'string') return registry;
  return openRegistry(registry, {
    timings: { heartbeatIntervalMs, ttlMs, registryTimeoutMs },
    logger,
    redis,
    leaseThread: leaseThread ? { maxBlockedMs } : undefined,
  });
}
