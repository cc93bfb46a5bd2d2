/** The client: Nest's `ClientProxy` over a mesh node, and what the mesh can do beyond it. */
import { Logger } from '@nestjs/common';
import { ClientProxy, type MsPattern, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { InvalidMessageException } from '@nestjs/microservices/errors/invalid-message.exception.js';
import { Observable, throwError } from 'rxjs';
import type { MeshNode } from '../node/mesh-node.js';
import type { OutboundEvent, PublishReceipt } from '../node/outbound-events.js';
import type { PeerStatus } from '../node/peer-status.js';
import type { ServiceTarget, Target } from '../node/target.js';
import type { StreamInput } from '../transport/calling-stream.js';
import { AnswerIterator } from './answer-iterator.js';
import type {
  AnyContract,
  CallPatterns,
  ChannelNameOf,
  DefaultChannel,
  EventOf,
  EventPatterns,
  GivenOf,
  MeshContract,
  OpenedChannel,
  ResponseOf,
  StreamPatterns,
  UnaryPatterns,
  Untyped,
} from './contract.js';
import { emitHot } from './client-events.js';
import {
  combined,
  remaining,
  within,
  type BoundCallOptions,
  type MeshCallOptions,
  type MeshCallScope,
} from './call-options.js';
import {
  boundToOne,
  eventTargetOf,
  isCaller,
  outboundEventOf,
  outboundOf,
  ownBinding,
  serviceTarget,
  unbound,
  type ClientBinding,
  type DispatchedPacket,
  type Outbound,
} from './client-binding.js';
import { deserializedStream, publishSerialized, serializedPacket } from './client-serialization.js';
import type { MeshChannelOptions, MeshClientOptions } from './client-options.js';
import { MeshChannel } from './mesh.channel.js';
import { MeshRecord } from './mesh.record-builder.js';
import { checkListener, concerns, listenTo, type MeshEvents, type MeshStatus } from './mesh.status.js';
import { NodeHolder } from './node-holder.js';
import { publishCall } from './publish-call.js';
import { checkedSerialization, type ClientSerialization } from './serialization.js';
import { publishStream, StreamAnswer, streamInputOf, type StreamCall } from './streaming.js';

declare const CONTRACT: unique symbol;
type Callback = (packet: WritePacket) => void;

interface Binding extends ClientBinding {
  /** The client that this one was derived from: its dispatch hook and its `serializeError` hold here as well. */
  readonly parent?: MeshClientProxy;
}

/**
 * `send` is cold and `emit` is hot, as on Nest's other transports. Calls end with an answer, with what the handler threw, or
 * with a `MeshError` that says whether the call may have run. With a contract (`MeshClientProxy<OrdersContract>`) patterns, data
 * and answers are checked by it; without one the signatures are Nest's.
 */
export class MeshClientProxy<C extends MeshContract = AnyContract> extends ClientProxy<MeshEvents> {
  /** Not there at run time: keeps clients of different contracts apart. */
  declare readonly [CONTRACT]?: (contract: C) => C;
  private readonly binding: Binding;
  private readonly logger = new Logger('MeshClientProxy');

  /** Throws one `MeshError` that lists every fault of the options. Connects at the first call. */
  constructor(options: MeshClientOptions) {
    super();
    this.binding = options instanceof BoundClient ? options.binding : ownBinding(options);
    const { serializer, deserializer } = this.binding.serialization ?? {};
    this.initializeSerializer({ ...(serializer && { serializer }) });
    this.initializeDeserializer({ ...(deserializer && { deserializer }) });
  }

  /** A client over a node that somebody else closes. */
  static over(node: MeshNode, target?: Target, call: BoundCallOptions = {}): MeshClientProxy {
    return bound({ holder: new NodeHolder(false, () => node), target, call });
  }

  /** The client with other serializers. Throws a `MeshError` for what can be none. */
  static serializing(client: MeshClientProxy, given: ClientSerialization): MeshClientProxy {
    const serialization = checkedSerialization(given);
    return serialization === undefined ? client : client.derive({ serialization });
  }

  // --- where calls go, and how

  /**
   * The same client bound to a service, or to one node of it, or by a key to always the same node; with the contract of that
   * service, when it is given: `client.to<BillingContract>('billing')`.
   */
  to<Other extends MeshContract = C>(target: string | ServiceTarget): MeshClientProxy<Other> {
    return this.derive({ target: serviceTarget(target) });
  }

  /**
   * The same client with other options for its calls; or, given the context of the call that is being handled, for calls that are
   * part of it: they end with it, when it is cancelled and at the latest at its deadline, and carry its metadata.
   */
  with(options: MeshCallOptions | MeshCallScope): MeshClientProxy<C> {
    const { call } = this.binding;
    return this.derive({ call: 'getMetadata' in options ? within(call, options) : combined(call, options) });
  }

  // --- Nest's ClientProxy

  /**
   * Reaches the registry, so that a wrong address shows at once, and begins to keep channels to the services of `connectTo`. Not
   * needed before `send`.
   */
  async connect(): Promise<void> {
    await this.binding.holder.node.connect();
  }

  /** Fails the open calls and closes the connections of a client that was made by hand. It works again after that. */
  close(): Promise<void> {
    return this.binding.holder.close();
  }

  override send<P extends CallPatterns<C>[keyof CallPatterns<C>]>(
    pattern: P,
    data: GivenOf<C, P> | MeshRecord<GivenOf<C, P>>,
  ): Observable<ResponseOf<C, P>>;
  // oxlint-disable-next-line typescript/no-explicit-any -- Nest's own signature: code that compiled with another transport must compile with this one
  override send<TResult = any, TInput = any>(pattern: Untyped<C>, data: TInput): Observable<TResult>;
  override send<TResult>(pattern: unknown, data: unknown): Observable<TResult> {
    if (isNil(pattern) || isNil(data)) return throwError(() => new InvalidMessageException());
    return new Observable<TResult>((observer) => {
      const told = this.createObserver(observer);
      // `serializeResponse` and `serializeError` may be those of a subclass.
      const tell = (packet: WritePacket): void => {
        try {
          told(packet);
        } catch (error) {
          observer.error(error);
        }
      };
      return this.publish(this.createPacket(pattern, data), tell);
    });
  }

  override emit<P extends EventPatterns<C>[keyof EventPatterns<C>]>(
    pattern: P,
    data: EventOf<C, P> | MeshRecord<EventOf<C, P>>,
  ): Observable<void>;
  // oxlint-disable-next-line typescript/no-explicit-any -- Nest's own signature: code that compiled with another transport must compile with this one
  override emit<TResult = any, TInput = any>(pattern: Untyped<C>, data: TInput): Observable<TResult>;
  override emit<TResult>(pattern: unknown, data: unknown): Observable<TResult> {
    if (isNil(pattern) || isNil(data)) return throwError(() => new InvalidMessageException());
    const dispatch = (): Promise<TResult> => this.dispatchEvent<TResult>(this.createPacket(pattern, data));
    return emitHot(pattern, dispatch, this.logger) as Observable<TResult>;
  }

  /** Has `callback` told of an event until `close()`; of peers, those of the service or node that this client is bound to. */
  override on<Event extends keyof MeshEvents>(event: Event, callback: MeshEvents[Event]): void {
    checkListener(event, callback);
    const { holder, target } = this.binding;
    holder.listenUntilClosed((node) => listenTo(node, event, callback, target));
  }

  override get status(): Observable<MeshStatus> {
    const { holder } = this.binding;
    return new Observable<MeshStatus>((observer) => {
      observer.next(holder.status);
      return holder.listen((node) => listenTo(node, 'status', (status) => observer.next(status)));
    });
  }

  /** How the node stands with each of its peers; of a bound client, with those of its service or node. */
  get peers(): readonly PeerStatus[] {
    const { holder, target } = this.binding;
    return holder.node.status.peers.filter((peer) => concerns(target, peer));
  }

  /** The mesh node underneath: a `MeshNode`. */
  unwrap<T = MeshNode>(): T {
    return this.binding.holder.node as T;
  }

  // --- beyond it

  /** A call as a Promise of its last value; `undefined` when the handler gave none. Rejects with what `send` errors with. */
  call<P extends UnaryPatterns<C>[keyof UnaryPatterns<C>]>(
    pattern: P,
    data: GivenOf<C, P> | MeshRecord<GivenOf<C, P>>,
  ): Promise<ResponseOf<C, P>>;
  call<TResult = unknown, TInput = unknown>(pattern: Untyped<C>, data: TInput): Promise<TResult>;
  call<TResult>(pattern: unknown, data: unknown): Promise<TResult> {
    return new Promise<TResult>((resolve, reject) => {
      let last: TResult | undefined;
      this.untyped.send<TResult>(pattern, data).subscribe({
        next: (value) => {
          last = value;
        },
        error: reject,
        complete: () => resolve(last as TResult),
      });
    });
  }

  /**
   * The values of an answer as an AsyncIterable, read at the pace of the loop: a slow reader slows the handler, across the
   * wire. Each loop makes its own call; leaving it early cancels the call.
   */
  stream<P extends StreamPatterns<C>[keyof StreamPatterns<C>]>(
    pattern: P,
    data: GivenOf<C, P> | MeshRecord<GivenOf<C, P>>,
  ): AsyncIterable<ResponseOf<C, P>>;
  stream<TResult = unknown, TInput = unknown>(pattern: Untyped<C>, data: TInput): AsyncIterable<TResult>;
  stream<TResult>(pattern: unknown, data: unknown): AsyncIterable<TResult> {
    return { [Symbol.asyncIterator]: () => this.answer<TResult>(pattern, data) };
  }

  /**
   * An event for every node of the service. Resolves with the ids of the nodes that it was handed over for or, with `ack`, that
   * acknowledged it. Rejects when no node has it; a node that it did not reach is logged.
   */
  broadcast<P extends EventPatterns<C>[keyof EventPatterns<C>]>(
    pattern: P,
    data: EventOf<C, P> | MeshRecord<EventOf<C, P>>,
  ): Promise<string[]>;
  broadcast(pattern: Untyped<C>, data: unknown): Promise<string[]>;
  async broadcast(pattern: unknown, data: unknown): Promise<string[]> {
    if (isNil(pattern) || isNil(data)) throw new InvalidMessageException();
    const { target, holder } = this.binding;
    if (target === undefined || isCaller(target)) throw unbound('broadcast');
    return holder.node.broadcast(target.service, this.event(await this.written(pattern, data)));
  }

  /** The seam of Nest's `ClientProxy`: makes a call. */
  publish(packet: ReadPacket, callback: (packet: WritePacket) => void): () => void;
  /**
   * An event for one node of every service that has announced a handler for it; only on the client that is bound to no service.
   * Resolves with the nodes that it was handed over for or, with `ack`, that acknowledged it: with none when no service takes it.
   * Rejects when it reached none of several; a service that it did not reach is logged.
   */
  publish<P extends EventPatterns<C>[keyof EventPatterns<C>]>(
    pattern: P,
    data: EventOf<C, P> | MeshRecord<EventOf<C, P>>,
  ): Promise<PublishReceipt[]>;
  publish(pattern: Untyped<C>, data: unknown): Promise<PublishReceipt[]>;
  publish(first: unknown, second: unknown): Promise<PublishReceipt[]> | (() => void) {
    // No data can be a function.
    if (typeof second === 'function') return this.publishCall(first as ReadPacket, second as Callback);
    return this.publishEvent(first, second);
  }

  /**
   * Opens a raw channel; without a name the default one. Rejects with a `MeshError`: `NOT_FOUND` when the peer has no channel of
   * that name, `UNAVAILABLE` when no node could be reached in time.
   */
  channel<Name extends ChannelNameOf<C>>(
    name: Name,
    options?: MeshChannelOptions,
  ): Promise<OpenedChannel<C, Name>>;
  channel(name: DefaultChannel<C>, options?: MeshChannelOptions): Promise<OpenedChannel<C, 'default'>>;
  channel<In = unknown, Out = unknown>(
    ...to: Untyped<C, [name?: string, options?: MeshChannelOptions]>
  ): Promise<MeshChannel<In, Out>>;
  async channel<In, Out>(name?: unknown, options: MeshChannelOptions = {}): Promise<MeshChannel<In, Out>> {
    const { target } = this.binding;
    if (target === undefined) throw unbound('channel');
    const { node } = this.binding.holder;
    const { channel, opening } = await node.openChannel(target, {
      name: name as string | undefined,
      metadata: { ...this.binding.call.metadata, ...options.metadata },
      sessionId: options.sessionId,
      timeoutMs: remaining(this.binding.call.timeoutMs ?? node.options.timeoutMs, this.binding.call.deadline),
      signal: this.binding.call.signal,
    });
    return new MeshChannel<In, Out>(channel as never, opening);
  }

  // --- the seam of ClientProxy

  private publishCall(packet: ReadPacket, callback: Callback): () => void {
    const { serialization } = this.binding;
    if (serialization === undefined) return this.publishPlain(packet, callback);
    // What is read of a call stream has passed the deserializer already.
    const publish = (given: ReadPacket, read: Callback): (() => void) =>
      this.publishPlain(given, streamInputOf(dataOf(given)) === undefined ? read : callback);
    return publishSerialized(serialization, this.assignPacketId(packet), publish, callback);
  }

  private publishPlain(packet: ReadPacket, callback: Callback): () => void {
    const outbound = this.outbound(packet);
    const { holder, call } = this.binding;
    if (streamInputOf(outbound.event.data) !== undefined)
      return publishStream(() => this.openCall(outbound), callback, call.signal);
    return publishCall(holder.node, outbound, callback, call.signal, (error) => this.logger.error(error));
  }

  protected override dispatchEvent<T>(packet: ReadPacket): Promise<T> {
    const { serialization, holder } = this.binding;
    const sent =
      serialization === undefined
        ? holder.node.emit(eventTargetOf(this.binding, packet), this.event(packet))
        : this.dispatchSerialized(serialization, packet);
    // An event has no value.
    return sent as Promise<T>;
  }

  private async dispatchSerialized(serialization: ClientSerialization, packet: ReadPacket): Promise<void> {
    const target = eventTargetOf(this.binding, packet);
    const event = this.event(await serializedPacket(serialization, packet));
    await this.binding.holder.node.emit(target, event);
  }

  private async publishEvent(pattern: unknown, data: unknown): Promise<PublishReceipt[]> {
    if (isNil(pattern) || isNil(data)) throw new InvalidMessageException();
    const { target, holder } = this.binding;
    if (target !== undefined) throw boundToOne(target);
    return holder.node.publish(this.event(await this.written(pattern, data)));
  }

  protected override createPacket<TInput>(pattern: unknown, data: TInput): ReadPacket {
    const packet = { pattern, data };
    this.hook?.(packet);
    return packet;
  }

  protected override serializeError(error: unknown): unknown {
    const { parent } = this.binding;
    return parent === undefined ? error : parent.serializeError(error);
  }

  protected override serializeResponse(response: unknown): unknown {
    const { parent } = this.binding;
    return parent === undefined ? response : parent.serializeResponse(response);
  }

  private answer<T>(pattern: unknown, data: unknown): AsyncIterator<T, undefined> {
    if (isNil(pattern) || isNil(data)) throw new InvalidMessageException();
    const { serialization } = this.binding;
    const packet = this.createPacket(pattern, data);
    const outbound = this.outbound(packet);
    const open = async (): Promise<StreamCall> => {
      if (serialization === undefined) return this.openCall(outbound);
      return this.openCall(this.outbound(await serializedPacket(serialization, this.assignPacketId(packet))));
    };
    // A peer that knows no call streams still answers by packets.
    const byPackets =
      streamInputOf(outbound.event.data) === undefined
        ? (): AnswerIterator<unknown> => new AnswerIterator(this.untyped.send(pattern, data))
        : undefined;
    const answer = new StreamAnswer(open, byPackets, this.binding.call.signal);
    return {
      next: async () => {
        try {
          const result = await answer.next();
          return result.done === true
            ? result
            : { done: false, value: this.serializeResponse(result.value) as T };
        } catch (error) {
          throw this.serializeError(error);
        }
      },
      return: () => answer.return(),
    };
  }

  private async openCall({ target, event }: Outbound): Promise<StreamCall> {
    const { holder, call, serialization } = this.binding;
    const values = streamInputOf(event.data);
    const input: StreamInput = values === undefined ? { data: event.data } : { values };
    const stream = await holder.node.openCall(target, { ...event, input, signal: call.signal });
    return serialization === undefined ? stream : deserializedStream(serialization, stream);
  }

  private written(pattern: unknown, data: unknown): ReadPacket | Promise<ReadPacket> {
    const { serialization } = this.binding;
    const packet = this.createPacket(pattern, data);
    return serialization === undefined ? packet : serializedPacket(serialization, packet);
  }

  private get untyped(): MeshClientProxy {
    return this;
  }

  private get hook(): ((packet: ReadPacket) => void) | undefined {
    return this.onDispatchHook ?? this.binding.parent?.hook;
  }

  private derive(change: Partial<Binding>): MeshClientProxy {
    return bound({ ...this.binding, ...change, parent: this });
  }

  private outbound(packet: DispatchedPacket): Outbound {
    return outboundOf(this.binding, packet, this.normalizePattern(packet.pattern as MsPattern));
  }

  private event(packet: DispatchedPacket): OutboundEvent {
    return outboundEventOf(this.binding, packet, this.normalizePattern(packet.pattern as MsPattern));
  }
}

/** Carries a binding through the public constructor. */
class BoundClient {
  constructor(readonly binding: Binding) {}
}

function bound(binding: Binding): MeshClientProxy {
  return new MeshClientProxy(new BoundClient(binding) as unknown as MeshClientOptions);
}

function dataOf({ data }: ReadPacket): unknown {
  return MeshRecord.is(data) ? data.data : data;
}

function isNil(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
