/** The transport strategy: the patterns of Nest's controllers, served by a mesh node. */
import { Logger } from '@nestjs/common';
import {
  Server,
  type CustomTransportStrategy,
  type MessageHandler,
  type MsPattern,
} from '@nestjs/microservices';
import { MeshNode } from '../node/mesh-node.js';
import type { LoadStatus } from '../node/own-load.js';
import type { AnnouncedHandlers } from '../registry/announced.js';
import type { ChannelOpening, NodeHandlers } from '../node/handlers.js';
import type { MeshOptions } from '../node/mesh-options.js';
import type { PeerStatus } from '../node/peer-status.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent, Origin } from '../transport/packet-channel.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { serveChannel } from './channel-replies.js';
import { ChannelSource } from './context-sources.js';
import { MeshChannel } from './mesh.channel.js';
import { MeshContext } from './mesh.context.js';
import { channelExtrasOf } from './mesh.decorators.js';
import { meshLogger } from './mesh.logger.js';
import type { MeshEvents, MeshStatus } from './mesh.status.js';
import { checkListener, listenTo, statusOf } from './mesh.status.js';
import { MESH_TRANSPORT } from './mesh.tokens.js';
import { EventRoutes } from './event-routes.js';
import { guard } from './foreign.js';
import { HandlerClaims, type HandlerNames } from './handler-claims.js';
import { MessageRoutes } from './message-routes.js';
import { checkedSerialization, nodeOptionsOf, type ServerSerialization } from './serialization.js';
import { ServerSerializing } from './server-serialization.js';
import { asRoute } from './route.js';
import { ServedCalls } from './served-calls.js';
import { ServedEvents, type Hooked } from './served-events.js';

function channelWords(name: string | undefined): string {
  return name === undefined ? 'the default channel' : `the channel "${name}"`;
}

/** The options of a server: those of its node, and how its packets are read and written. */
export interface MeshServerOptions extends MeshOptions, ServerSerialization {}

/**
 * `app.connectMicroservice({ strategy: new MeshServer({ service: 'orders' }) })`, or `app.get(MeshServer)` with `MeshModule`.
 * The constructor throws one `MeshError` that lists every fault of the options.
 */
export class MeshServer
  extends Server<MeshEvents, MeshStatus>
  implements CustomTransportStrategy, NodeHandlers
{
  override readonly transportId = MESH_TRANSPORT;
  protected override readonly logger: Logger = new Logger('MeshServer');
  private readonly node: MeshNode;
  private readonly ownsNode: boolean;
  private readonly requests = new MessageRoutes();
  private readonly events = new EventRoutes();
  private readonly calls: ServedCalls;
  private readonly served: ServedEvents;
  private readonly channels = new Map<string | undefined, MessageHandler>();
  private readonly claims = new HandlerClaims();
  private readonly listening: (() => void)[] = [];
  private readonly serializing: ServerSerializing | undefined;
  /** Resolves when the application is ready; `undefined` when it is, or when nobody tells, as without `MeshModule`. */
  private gate: Promise<void> | undefined;

  /** `names` is what `MeshModule` gives, so that errors can name handlers, and `serialization` comes beside a node. */
  constructor(
    options: MeshServerOptions | MeshNode,
    private readonly names?: HandlerNames,
    serialization: ServerSerialization = options instanceof MeshNode ? {} : options,
  ) {
    super();
    this.ownsNode = !(options instanceof MeshNode);
    this.node =
      options instanceof MeshNode
        ? options
        : new MeshNode({ logger: meshLogger(), ...nodeOptionsOf(options) });
    const codecs = checkedSerialization(serialization);
    if (codecs !== undefined)
      this.serializing = new ServerSerializing(codecs, this.node.service, this.logger);
    const hooked: Hooked = (context, step) => this.runWithProcessingHooks(context, step);
    this.calls = new ServedCalls(this.node, this.logger, hooked);
    this.served = new ServedEvents(this.node, this.logger, hooked);
    this.node.setHandlers(this);
    this.node.registry.onStatus((status) => this._status$.next(statusOf(status)));
    const { serializer, deserializer } = serialization;
    this.initializeSerializer({ ...(serializer && { serializer }) });
    this.initializeDeserializer({ ...(deserializer && { deserializer }) });
  }

  /** The id under which this instance is found in the registry. */
  get nodeId(): string {
    return this.node.id;
  }

  /** Announces the node only once `ready` has resolved. `MeshModule` calls it. */
  announceAfter(ready: Promise<void>): void {
    this.gate = ready;
    void ready.then(() => {
      this.gate = undefined;
    });
  }

  listen(callback: (error?: unknown) => void): void {
    this.start().then(
      () => callback(),
      (error: unknown) => callback(error),
    );
  }

  /** Drains and stops listening; also closes the node when it was made here. Idempotent. */
  async close(): Promise<void> {
    await (this.ownsNode ? this.node.close() : this.node.stopServing());
    for (const stop of this.listening.splice(0)) stop();
  }

  /**
   * Takes the node out of service while the application still works: withdraws it and waits for what is open. With `MeshModule` that
   * happens by itself, before any `onModuleDestroy` hook; call it before `app.close()` in a hybrid application without, when your hooks
   * close what handlers need. Idempotent.
   */
  drain(): Promise<void> {
    return this.node.stopServing();
  }

  /** Has `callback` told of an event until `close()`. */
  on<Event extends keyof MeshEvents>(event: Event, callback: MeshEvents[Event]): void {
    checkListener(event, callback);
    this.listening.push(listenTo(this.node, event, callback));
  }

  /** How the node stands with each of its peers. */
  get peers(): readonly PeerStatus[] {
    return this.node.status.peers;
  }

  /** How busy the node of this server is. */
  get load(): LoadStatus {
    return this.node.status.load;
  }

  /** The server of `node:http2`. Throws before `listen()`. */
  unwrap<T>(): T {
    const server = this.node.httpServer;
    if (server === undefined) {
      throw new MeshError(
        'FAILED_PRECONDITION',
        this.node.options.listen
          ? 'the mesh server does not listen: call "listen()" (or "startAllMicroservices()") first'
          : 'the mesh server opens no port (listen: false), so there is no server of node:http2',
      );
    }
    return server as T;
  }

  override setOnProcessingStartHook(hook: Parameters<Server['setOnProcessingStartHook']>[0]): void {
    this.calls.isHooked = this.served.isHooked = true;
    super.setOnProcessingStartHook(hook);
  }

  override setOnProcessingEndHook(hook: Parameters<Server['setOnProcessingEndHook']>[0]): void {
    this.calls.isHooked = this.served.isHooked = true;
    // It belongs to a tool, and runs where nothing catches what it throws.
    super.setOnProcessingEndHook((transport, context) => {
      guard(
        () => hook(transport, context),
        (error) => this.logger.error(error),
      );
    });
  }

  /** Keeps calls and events of the same pattern apart, where Nest's own map lets one hide the other. */
  override addHandler(
    pattern: MsPattern,
    callback: MessageHandler,
    isEventHandler = false,
    extras: Record<string, unknown> = {},
  ): void {
    const channel = channelExtrasOf(extras);
    if (channel !== undefined) {
      this.claims.add(channelWords(channel.name), { callback, extras });
      this.channels.set(channel.name, callback);
      return;
    }
    const route = asRoute(this.normalizePattern(pattern));
    callback.isEventHandler = isEventHandler;
    callback.extras = extras;
    if (isEventHandler) this.events.add(route, callback);
    else {
      this.claims.add(`the message pattern "${route}"`, { callback, extras });
      this.requests.add(route, callback, extras, this.node.deadlines);
    }
    // Tools read this map.
    if (!isEventHandler || !this.messageHandlers.has(route)) this.messageHandlers.set(route, callback);
  }

  /** Nest's look-up parses every pattern as JSON, which throws for plain strings; the map alone answers for those. */
  override getHandlerByPattern(pattern: string): MessageHandler | null {
    return this.messageHandlers.get(pattern) ?? super.getHandlerByPattern(pattern);
  }

  // --- what peers ask for

  get announced(): AnnouncedHandlers {
    return { events: this.events.patterns, idempotent: this.requests.idempotent };
  }

  onRequest(call: InboundCall, origin: Origin): void {
    const { serializing } = this;
    if (serializing === undefined) this.dispatch(call, origin);
    else serializing.request(call, origin.peer, () => this.dispatch(call, origin));
  }

  private dispatch(call: InboundCall, origin: Origin): void {
    const route = this.routeOf(call.pattern);
    this.calls.serve(call, origin, route, this.requests.get(route));
  }

  onEvent(event: InboundEvent, origin: Origin): void {
    const { serializing } = this;
    if (serializing === undefined) {
      this.dispatchEvent(event, origin);
      return;
    }
    const failed = (): void => void (this.node.eventCounts.failed += 1);
    serializing.event(event, origin.peer, (read) => this.dispatchEvent(read, origin), failed);
  }

  private dispatchEvent(event: InboundEvent, origin: Origin): void {
    const route = this.routeOf(event.pattern);
    const handlers = this.events.matching(route, this.requestHandlers);
    this.served.serve(event, origin, route, handlers);
  }

  hasChannel(name: string | undefined): boolean {
    return this.channels.has(name);
  }

  onChannel(raw: RawChannel, opening: ChannelOpening): void {
    const handler = this.channels.get(opening.name);
    if (handler === undefined) {
      raw.close();
      return;
    }
    const channel = new MeshChannel(raw, opening);
    const context = new MeshContext([new ChannelSource(raw, opening, this.node), opening.name ?? '']);
    const failing = {
      kind: 'channel',
      call: { pattern: opening.name ?? 'default' },
      peer: opening.peer,
      logger: this.logger,
    } as const;
    void serveChannel(raw, () => handler(channel, context), failing);
  }

  private async start(): Promise<void> {
    this.checkHandlers();
    await this.node.listen();
    const { gate } = this;
    if (gate === undefined) {
      await this.node.announce();
      return;
    }
    // Waiting for it here would keep the application from being initialised.
    this.logger.log(
      'listening; announced to the mesh once the application is initialised (app.init() or app.listen())',
    );
    gate
      .then(() => this.node.announce())
      .catch((error: unknown) => {
        // Closed in the meantime: nothing is left to announce.
        if (!this.node.status.draining) this.logger.error(error);
      });
  }

  /** Throws one error that lists everything that is wrong with the patterns of the handlers. */
  private checkHandlers(): void {
    const { duplicates, repeated } = this.claims.faults(this.names);
    for (const fault of repeated) this.logger.warn(fault);
    const refuses = this.node.options.duplicateHandlers === 'error';
    if (!refuses) for (const fault of duplicates) this.logger.warn(fault);
    const faults = [
      ...this.events.faults,
      ...this.requests.faults(this.names),
      ...(refuses ? duplicates : []),
    ];
    if (faults.length === 0) return;
    const hint =
      refuses && duplicates.length > 0
        ? `\nGive every handler a pattern of its own, or set the option "duplicateHandlers" to 'warn'.`
        : '';
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the handlers of the service "${this.node.service}" are not valid:\n- ${faults.join('\n- ')}${hint}`,
      { delivery: 'not-sent', details: { faults } },
    );
  }

  private routeOf(pattern: unknown): string {
    return typeof pattern === 'string'
      ? this.knownRoute(pattern)
      : asRoute(this.normalizePattern(pattern as MsPattern));
  }

  /** A string may be an object pattern that was written as JSON in another order of keys. */
  private knownRoute(pattern: string): string {
    if (this.requests.has(pattern) || this.events.has(pattern) || !pattern.startsWith('{')) return pattern;
    return this.getRouteFromPattern(pattern);
  }

  /** An event whose pattern only a message handler has is given to that one, and the answer is dropped, as Nest does. */
  private readonly requestHandlers = (route: string): MessageHandler[] => {
    const served = this.requests.get(route);
    return served === undefined ? [] : [served.handler];
  };
}
