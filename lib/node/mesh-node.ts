/** A node: registry, sessions, channels and handlers of one running instance. Starting and stopping order lives here only. */
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import type { NodeRecord } from '../registry/node-record.js';
import { openRegistry } from '../registry/registry-url.js';
import type { Announcement, RegistryStatus, ServiceRegistry } from '../registry/registry.js';
import { DeadlineQueue } from '../transport/deadline-queue.js';
import type { CallingStream } from '../transport/calling-stream.js';
import { Listener } from '../transport/listener.js';
import { OutboundCall, type CallObserver, type CallRequest } from '../transport/outbound-call.js';
import type { PacketChannel, PacketHandler } from '../transport/packet-channel.js';
import { RawChannel } from '../transport/raw-channel.js';
import { Directory } from './directory.js';
import { drain } from './drain.js';
import type { NodeHandlers } from './handlers.js';
import { InboundChannels } from './inbound-channels.js';
import type { MeshOptions, ResolvedOptions } from './mesh-options.js';
import {
  OutboundStreams,
  type OpenChannelRequest,
  type OpenedChannel,
  type StreamCallRequest,
} from './outbound-streams.js';
import { PendingCall, waitForNode } from './pending.js';
import { answersNoCalls } from './refusals.js';
import { isLoopback, resolveOptions } from './resolve-options.js';
import type { ServiceTarget, Target } from './target.js';

/** An event on its way. */
export interface OutboundEvent {
  readonly pattern: unknown;
  readonly route: string;
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
  /** How long it may wait for a node, in ms; 0 = for ever. */
  readonly timeoutMs: number;
}

/** What other parts see of the life of a node. */
export interface NodeStatus {
  readonly nodeId: string;
  readonly service: string;
  readonly listening: boolean;
  readonly announced: boolean;
  readonly draining: boolean;
  readonly registry: RegistryStatus;
}

export class MeshNode {
  readonly options: ResolvedOptions;
  readonly registry: ServiceRegistry;
  private readonly deadlines = new DeadlineQueue();
  private readonly directories = new Map<string, Directory>();
  private readonly inbound: InboundChannels;
  private readonly outbound: OutboundStreams;
  private readonly packets: PacketHandler;
  private handlers: NodeHandlers | undefined;
  private listener: Listener | undefined;
  private listening: Promise<void> | undefined;
  private announcement: Announcement | undefined;
  private announcing: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private isDraining = false;
  /** Until the drain is over, handlers that are still at work may call others. */
  private ended = false;

  /** Throws a `MeshError` (`INVALID_ARGUMENT`) that lists every fault of the options. Nothing is opened yet. */
  constructor(options: MeshOptions | ResolvedOptions) {
    this.options = 'limits' in options && 'advertiseHost' in options ? options : resolveOptions(options);
    const { registry, redis, heartbeatIntervalMs, ttlMs, registryTimeoutMs, logger } = this.options;
    this.registry =
      typeof registry === 'string'
        ? openRegistry(registry, {
            timings: { heartbeatIntervalMs, ttlMs, registryTimeoutMs },
            logger,
            redis,
          })
        : registry;
    const onFault = (message: string): void => logger.warn(message);
    this.packets = {
      onRequest: (call, channel) => this.onRequest(call, channel),
      onEvent: (event, channel) => this.onEvent(event, channel),
      onDefaultRaw: (channel) => this.onDefaultRaw(channel),
      onDrain: (channel) => this.onDrain(channel),
      onFault,
      onClosed: (channel) => this.inbound.remove(channel),
    };
    this.outbound = new OutboundStreams(this.options);
    this.inbound = new InboundChannels({
      options: this.options,
      packets: this.packets,
      handlers: () => this.handlers,
      draining: () => this.isDraining,
      announced: () => this.announcement !== undefined,
      onFault,
      onChannel: (channel) => this.onInbound(channel),
    });
  }

  get id(): string {
    return this.options.nodeId;
  }

  get service(): string {
    return this.options.service;
  }

  get status(): NodeStatus {
    return {
      nodeId: this.id,
      service: this.service,
      listening: this.listener !== undefined,
      announced: this.announcement !== undefined,
      draining: this.isDraining,
      registry: this.registry.status,
    };
  }

  /** The record under which this node is found. Only while it listens. */
  get record(): NodeRecord {
    if (this.listener === undefined) throw notListening();
    const { nodeId, service, advertiseHost, advertisePort, metadata } = this.options;
    return { id: nodeId, service, host: advertiseHost, port: advertisePort ?? this.listener.port, metadata };
  }

  /** The server of node:http2 underneath; `undefined` while it does not listen. */
  get httpServer(): ReturnType<Listener['unwrap']> | undefined {
    return this.listener?.unwrap();
  }

  /** Says who answers what peers ask for. */
  setHandlers(handlers: NodeHandlers): void {
    this.handlers = handlers;
  }

  /**
   * Reaches the registry and binds the port; calls are answered from here on, but nobody is told of the node before
   * {@link announce}. Rejects with a `MeshError` that names the registry or the port.
   */
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

  /** Makes a call. The observer is told of its packets or of its failure, never both of an end and more. */
  request(target: Target, request: CallRequest, observer: CallObserver): OutboundCall {
    if ('channel' in target) {
      const { channel } = target;
      const call = new OutboundCall(request, channel.peer.service, observer, this.deadlines);
      channel.request(call);
      return call;
    }
    const call = new OutboundCall(request, target.service, observer, this.deadlines);
    if (this.ended) {
      call.fail(closedError());
      return call;
    }
    const directory = this.directory(target.service);
    const node = directory.pick(target);
    const channel = node?.channel;
    if (channel === undefined) new PendingCall(call, target, directory).wait(node);
    else channel.request(call);
    return call;
  }

  /** Sends an event; resolves when it was handed to the transport. Rejects with a `MeshError` (`not-sent`). */
  async emit(target: Target, event: OutboundEvent): Promise<void> {
    const { pattern, route, data, metadata, timeoutMs } = event;
    const send = (channel: PacketChannel): void => channel.event(pattern, route, data, metadata);
    if ('channel' in target) {
      send(target.channel);
      return;
    }
    const directory = this.openDirectory(target);
    const node = directory.pick(target);
    // At once, or in its place among what waits: no call that is made after the event may overtake it.
    if (node?.channel !== undefined) send(node.channel);
    else await waitForNode(directory, target, node, { what: route, timeoutMs, use: send });
  }

  /** Sends an event to every known node of a service. Resolves with the ids of those it was handed over for. */
  async broadcast(service: string, event: OutboundEvent): Promise<string[]> {
    const directory = this.openDirectory({ service });
    const { route: what, timeoutMs } = event;
    await waitForNode(directory, {}, directory.pick({}), { what, timeoutMs, anyNode: true });
    const sent = await Promise.allSettled(
      directory.known
        .filter((node) => !node.draining)
        .map(async (node) => {
          const channel = await node.connect();
          channel.event(event.pattern, event.route, event.data, event.metadata);
          return node.id;
        }),
    );
    const ids: string[] = [];
    for (const outcome of sent) {
      if (outcome.status === 'fulfilled') ids.push(outcome.value);
      else
        this.options.logger.warn(
          `event '${event.route}' did not reach a node of '${service}': ${String(outcome.reason)}`,
        );
    }
    return ids;
  }

  /** Opens a raw channel. Rejects with a `MeshError`: `NOT_FOUND` when the peer has no channel of that name. */
  async openChannel(target: ServiceTarget, request: OpenChannelRequest): Promise<OpenedChannel> {
    return this.outbound.openChannel(this.openDirectory(target), target, request);
  }

  /** Makes a call on a stream of its own: with a stream of input, or with an answer that is read at the reader's pace. */
  async openCall(target: ServiceTarget, request: StreamCallRequest): Promise<CallingStream> {
    return this.outbound.openCall(this.openDirectory(target), target, request);
  }

  /** The nodes of a service that the registry lists, once it has answered. */
  async discover(service: string): Promise<readonly NodeRecord[]> {
    const directory = this.openDirectory({ service });
    await directory.ready;
    return directory.known.filter((node) => node.listed).map((node) => node.record);
  }

  /**
   * Takes the node out of service: withdraws it, tells its peers, and waits until what is open has ended, at the longest
   * `drainTimeoutMs`; then stops listening. Calls of this node go on. Idempotent.
   */
  stopServing(): Promise<void> {
    this.stopping ??= this.drainAndStop();
    return this.stopping;
  }

  /** {@link stopServing}, then ends everything else: own calls fail with `UNAVAILABLE`. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async openListener(): Promise<void> {
    this.refuseWhenClosed();
    const { host, port, limits, keepAlive, tls, logger } = this.options;
    await this.registry.connect();
    const listener = new Listener({ host, port, limits, keepAlive, tls }, this.inbound);
    await listener.listen();
    if (this.stopping !== undefined) {
      await listener.close();
      this.refuseWhenClosed();
    }
    this.listener = listener;
    if (tls === undefined && !isLoopback(host)) {
      logger.warn(
        `listening on ${host} without TLS: anyone who reaches the port can call this node (options tls, host)`,
      );
    }
  }

  private async writeRecord(): Promise<void> {
    this.refuseWhenClosed();
    const announcement = await this.registry.announce(this.record);
    if (this.stopping !== undefined) await announcement.withdraw();
    else this.announcement = announcement;
  }

  private async drainAndStop(): Promise<void> {
    const { logger, drainTimeoutMs } = this.options;
    this.isDraining = true;
    await this.announcement?.withdraw();
    this.announcement = undefined;
    const { listener } = this;
    if (listener === undefined) return;
    listener.stopAccepting();
    const { channels: inbound, raw, streams } = this.inbound;
    const dialled = [...this.directories.values()].flatMap((directory) => directory.dialledChannels);
    const { open, left, tookMs } = await drain({ inbound, raw, streams, dialled }, drainTimeoutMs);
    if (open > 0) logger.log(`drained ${open - left} of ${open} calls in ${Math.round(tookMs)} ms`);
    this.listener = undefined;
    await listener.close();
  }

  private async shutDown(): Promise<void> {
    await this.stopServing();
    this.ended = true;
    this.outbound.close();
    const directories = [...this.directories.values()];
    this.directories.clear();
    await Promise.all(directories.map((directory) => directory.close()));
    await this.registry.close();
    this.deadlines.clear();
  }

  private directory(service: string): Directory {
    let directory = this.directories.get(service);
    if (directory === undefined) {
      const { options, packets } = this;
      directory = new Directory(service, this.registry, { options, packets }, (nodeId) =>
        this.inbound.ofNode(nodeId),
      );
      this.directories.set(service, directory);
    }
    return directory;
  }

  private openDirectory({ service }: ServiceTarget): Directory {
    if (this.ended) throw closedError();
    return this.directory(service);
  }

  private readonly onRequest: PacketHandler['onRequest'] = (call, channel) => {
    if (this.handlers !== undefined) this.handlers.onRequest(call, channel);
    else call.fail(answersNoCalls(this.service));
  };

  private readonly onEvent: PacketHandler['onEvent'] = (event, channel) => {
    if (this.handlers !== undefined) this.handlers.onEvent(event, channel);
    else
      this.options.logger.warn(
        `an event of ${channel.peer.service} was lost: service '${this.service}' takes none`,
      );
  };

  private onDefaultRaw(carrier: PacketChannel): RawChannel | undefined {
    const { handlers } = this;
    if (handlers?.hasChannel(undefined) !== true) return undefined;
    const channel = new RawChannel(carrier.residualLink());
    const { sessionId, metadata } = carrier.opening;
    // The channel must be in place before its handler can speak.
    queueMicrotask(() =>
      handlers.onChannel(channel, { name: undefined, peer: carrier.peer, sessionId, metadata, carrier }),
    );
    return channel;
  }

  /** The channel of a node that dialled us serves our own calls to it too. */
  private onInbound(channel: PacketChannel): void {
    this.directories.get(channel.peer.service)?.dialledUs();
  }

  private onDrain(channel: PacketChannel): void {
    const { nodeId, service } = channel.peer;
    if (nodeId !== undefined) this.directories.get(service)?.drained(nodeId);
  }

  private refuseWhenClosed(): void {
    if (this.stopping !== undefined) throw closedError();
  }
}

function closedError(): MeshError {
  return new MeshError('UNAVAILABLE', 'the mesh node is closed', { delivery: 'not-sent' });
}

function notListening(): MeshError {
  return new MeshError('FAILED_PRECONDITION', 'the mesh node does not listen yet: call listen() first');
}
