/** A packet channel: one long-lived stream that carries all ordinary calls and events between two nodes, both ways. */
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import {
  packetKind,
  isEventHead,
  peekPacket,
  readMetadata,
  type CancelPacket,
  type EventPacket,
  type Metadata,
  type PacketId,
  type RequestPacket,
  type ResponsePacket,
} from '../protocol/packet.js';
import { HEAD_BYTES } from '../protocol/frame-decoder.js';
import type { FrameReader, FrameStream } from './frame-stream.js';
import { cancelledByCaller, InboundCall, type ReplyCarrier } from './inbound-call.js';
import type { CallCarrier, OutboundCall } from './outbound-call.js';
import type { Peer } from './peer.js';
import { RawChannel, type RawLink } from './raw-channel.js';

/** An event that a peer sent. */
export interface InboundEvent {
  readonly pattern: unknown;
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
}

/** Where a call or an event came from. */
export interface Origin {
  readonly peer: Peer;
  /** What the headers of the stream said. */
  readonly opening: { readonly sessionId: string; readonly metadata: Metadata };
  /** The packet channel with the peer, on which it can be called back; `undefined` when there is none. */
  readonly channel: PacketChannel | undefined;
}

/** What happens to what peers ask for. */
export interface PacketHandler {
  /** Must not throw; answers through `call`. */
  onRequest(call: InboundCall, channel: PacketChannel): void;
  /** Must not throw. */
  onEvent(event: InboundEvent, channel: PacketChannel): void;
  /** Frames that are no packets: the default raw handler's reader, or `undefined` when there is none. */
  onDefaultRaw(channel: PacketChannel): RawChannel | undefined;
  /** The peer wants no new requests on this channel. */
  onDrain(channel: PacketChannel): void;
  /** The peer broke a rule; said once for each kind of fault and channel. */
  onFault(message: string): void;
  /** The channel is gone, with everything that was open on it. */
  onClosed(channel: PacketChannel, error: MeshError | undefined): void;
}

export class PacketChannel implements FrameReader, CallCarrier, ReplyCarrier, Origin {
  readonly channel = this;
  private readonly calls = new Map<PacketId, OutboundCall>();
  private readonly inbound = new Map<PacketId, InboundCall>();
  private readonly faults = new Set<string>();
  private nextId = 1;
  private raw: RawChannel | undefined;
  private peerDrains = false;
  private retired = false;
  private closed = false;
  private idleListeners: (() => void)[] = [];
  private settleClosed: () => void = () => undefined;
  /** Resolves once the stream is gone. */
  readonly whenClosed: Promise<void> = new Promise((resolve) => {
    this.settleClosed = resolve;
  });

  constructor(
    private readonly frames: FrameStream,
    /** The node at the other end. */
    readonly peer: Peer,
    /** True when this node opened the channel. */
    readonly dialled: boolean,
    private readonly handler: PacketHandler,
    private readonly limits: WireLimits,
    /** What the headers of the stream said beside the peer itself. */
    readonly opening: { readonly sessionId: string; readonly metadata: Metadata },
    private readonly codec: Codec = JSON_CODEC,
  ) {}

  /** Begins to read. */
  start(): void {
    this.frames.start(this);
    // A peer that knows part 1 only may wait for the first word of the default raw handler.
    if (this.peer.plain) this.raw = this.handler.onDefaultRaw(this);
  }

  /** True while new calls may be sent on it. */
  get usable(): boolean {
    return !this.closed && !this.peerDrains && !this.retired && this.frames.writable;
  }

  /** Calls of the peer that are being answered. */
  get servedCalls(): number {
    return this.inbound.size;
  }

  /** Calls and handlers under way. */
  get openCalls(): number {
    return this.calls.size + this.inbound.size;
  }

  get peerNodeId(): string | undefined {
    return this.peer.nodeId;
  }

  get congested(): boolean {
    return this.frames.congested;
  }

  ready(): Promise<void> {
    return this.frames.ready();
  }

  /** Sends the request of a call and carries it from here on. A request that cannot be sent fails the call. */
  request(call: OutboundCall): void {
    const id = this.nextId++;
    call.id = id;
    call.carrier = this;
    call.describeWait = undefined;
    call.frameNumber = this.frames.framesQueued;
    this.calls.set(id, call);
    try {
      this.frames.send(this.codec.encode(this.requestPacket(call, id)));
    } catch (error) {
      call.fail(MeshError.from(error, 'INTERNAL').withDelivery('not-sent'));
    }
  }

  /** Sends an event. Throws a `MeshError` (`not-sent`) when it cannot be sent. */
  event(pattern: unknown, route: string, data: unknown, metadata: Metadata | undefined): void {
    const packet: EventPacket = { pattern: this.peer.plain ? pattern : route, data };
    if (metadata !== undefined) packet.metadata = metadata;
    this.frames.send(this.codec.encode(packet));
  }

  /**
   * Asks the peer to send nothing new; what is open goes on. Says nothing to a peer that knows part 1 only. A channel that the
   * peer has opened takes no new calls of ours either, since the peer ends it once it is idle.
   */
  drain(): void {
    if (!this.dialled) this.retired = true;
    if (this.closed || this.peer.plain || !this.frames.writable) return;
    this.frames.send(this.codec.encode({ drain: true }));
  }

  /** Calls `listener` once as soon as no call is open in either direction. */
  onIdle(listener: () => void): void {
    if (this.openCalls === 0 || this.closed) listener();
    else this.idleListeners.push(listener);
  }

  /** Fails the calls that are open, telling the peer, and ends our half once everything has left. */
  close(): void {
    this.failCalls(new MeshError('UNAVAILABLE', 'the mesh node was closed'), true);
    this.frames.end();
  }

  /** The frames on it that are no packets, as the link of a default raw channel. */
  residualLink(): RawLink {
    const { frames, peer } = this;
    return {
      send: (payload) => frames.send(payload),
      get congested() {
        return frames.congested;
      },
      ready: () => frames.ready(),
      pause: () => frames.pause(),
      resume: () => frames.resume(),
      // Calls may share the stream: only the channel of a part 1 peer ends with its raw half.
      end: () => {
        if (peer.plain) this.onIdle(() => frames.end());
      },
      destroy: (error) => {
        if (peer.plain) frames.destroy(error);
      },
    };
  }

  // --- the calls on it

  wasSent(call: OutboundCall): boolean {
    return call.frameNumber < this.frames.framesWritten;
  }

  release(call: OutboundCall, tellPeer: boolean): void {
    if (!this.calls.delete(call.id)) return;
    if (tellPeer && !this.peer.plain && this.frames.writable) {
      const cancel: CancelPacket = { id: call.id, cancel: true };
      try {
        this.frames.send(this.codec.encode(cancel));
      } catch (error) {
        this.fault('cancel', `a cancel could not be sent: ${String(error)}`);
      }
    }
    this.checkIdle();
  }

  reply(packet: ResponsePacket): void {
    this.frames.send(this.codec.encode(packet));
  }

  settle(call: InboundCall): void {
    this.inbound.delete(call.id);
    this.checkIdle();
  }

  // --- what arrives

  onFrame(payload: Buffer): void {
    let value: unknown;
    try {
      value = this.codec.decode(payload);
    } catch (error) {
      this.onUnreadable(payload, MeshError.from(error));
      return;
    }
    switch (packetKind(value)) {
      case 'response':
        this.onResponse(value as ResponsePacket);
        return;
      case 'request':
        this.onRequest(value as RequestPacket);
        return;
      case 'event': {
        const { id, pattern, data, metadata } = value as EventPacket;
        this.handler.onEvent({ pattern, data, metadata: readMetadata(metadata) }, this);
        if (id !== undefined) this.acknowledge(id);
        return;
      }
      case 'cancel':
        this.inbound.get((value as CancelPacket).id)?.cancel(cancelledByCaller());
        return;
      case 'drain':
        this.onDrain();
        return;
      case 'open':
        this.fault('open', 'the peer asked for a stream with a token that is not known here');
        return;
      case undefined:
        this.onRaw(value, payload.length);
    }
  }

  /** A payload that is not JSON, or not UTF-8: where its first bytes tell whose it was, that call ends. */
  private onUnreadable(payload: Buffer, error: MeshError): void {
    this.fault('payload', `${error.rawMessage}; it is ignored`);
    const peeked = peekPacket(payload.subarray(0, HEAD_BYTES));
    if (peeked === undefined) return;
    if (peeked.isRequest) this.replyError(peeked.id, error.withDelivery('refused'));
    else this.calls.get(peeked.id)?.fail(error.withDelivery('unknown'), true);
  }

  onOversize(declaredBytes: number, head: Buffer): void {
    const error = new MeshError(
      'RESOURCE_EXHAUSTED',
      `a message of ${declaredBytes} bytes is over limits.maxFrameBytes (${this.limits.maxFrameBytes}) of the receiver`,
      { delivery: 'refused', details: { bytes: declaredBytes, maxFrameBytes: this.limits.maxFrameBytes } },
    );
    const peeked = peekPacket(head);
    if (peeked === undefined) {
      this.fault('oversize', error.rawMessage);
      // Peers of this version write the id first: without one it was an event, and nobody waits for it.
      if (!this.peer.plain && isEventHead(head)) return;
      // Whose call it was cannot be told, so all of them end rather than one of them hanging.
      if (this.raw === undefined) this.frames.destroy(error.withDelivery('unknown'));
      else this.raw.close(error.withDelivery('unknown'));
    } else if (peeked.isRequest) {
      this.replyError(peeked.id, error);
    } else {
      this.calls.get(peeked.id)?.fail(error.withDelivery('unknown'), true);
    }
  }

  onEnd(): void {
    this.raw?.onEnd();
    // The peer sends no more requests and no more answers: calls on their way out can only fail.
    this.failCalls(new MeshError('UNAVAILABLE', `${this.frames.name} was ended by the peer`));
    this.peerDrains = true;
    if (this.raw === undefined) this.onIdle(() => this.frames.end());
  }

  onClose(error: MeshError | undefined): void {
    this.closed = true;
    this.raw?.onClose(error);
    const reason = error ?? new MeshError('UNAVAILABLE', `${this.frames.name} was closed`);
    this.failCalls(reason);
    for (const call of [...this.inbound.values()])
      call.cancel(new MeshError('CANCELLED', `the caller is gone: ${reason.rawMessage}`));
    this.handler.onClosed(this, error);
    this.settleClosed();
  }

  private onDrain(): void {
    if (this.peerDrains) return;
    this.peerDrains = true;
    this.handler.onDrain(this);
    // The end of our half tells the peer that nothing more was on its way. Who opened the channel may go on using it.
    if (this.dialled) this.onIdle(() => this.frames.end());
  }

  private onResponse(packet: ResponsePacket): void {
    const call = this.calls.get(packet.id);
    if (call !== undefined) {
      const own = packet.err === undefined ? undefined : MeshError.fromWire(packet.err);
      if (own === undefined) call.receive(packet);
      else call.fail(own);
      return;
    }
    // Late answers of calls that were cancelled are expected; ids that were never given out are not.
    const late =
      typeof packet.id === 'number' &&
      Number.isInteger(packet.id) &&
      packet.id > 0 &&
      packet.id < this.nextId;
    if (!late)
      this.fault('response', `the peer answered a call that was never made: id ${JSON.stringify(packet.id)}`);
  }

  private onRequest(packet: RequestPacket): void {
    const { id } = packet;
    if (this.inbound.has(id)) {
      // Answering it would end the first call with that id, which is still open.
      this.fault(
        'duplicate',
        `the peer used the id ${JSON.stringify(id)} twice at a time; the second request is ignored`,
      );
      return;
    }
    if (this.inbound.size >= this.limits.maxOpenCalls) {
      this.replyError(
        id,
        new MeshError(
          'RESOURCE_EXHAUSTED',
          `more than limits.maxOpenCalls (${this.limits.maxOpenCalls}) calls are open on this channel`,
          {
            delivery: 'refused',
          },
        ),
      );
      return;
    }
    const call = new InboundCall(packet, this);
    if (call.timeoutMs === 0) {
      this.replyError(
        id,
        new MeshError('DEADLINE_EXCEEDED', 'the time limit of the call was over before it began', {
          delivery: 'refused',
        }),
      );
      return;
    }
    this.inbound.set(id, call);
    this.handler.onRequest(call, this);
  }

  private onRaw(value: unknown, bytes: number): void {
    this.raw ??= this.handler.onDefaultRaw(this);
    if (this.raw !== undefined) this.raw.onValue(value, bytes);
    else
      this.fault(
        'raw',
        'the peer sent a message that is no packet, and there is no default raw handler; it is ignored',
      );
  }

  private acknowledge(id: PacketId): void {
    try {
      this.reply({ id, isDisposed: true });
    } catch (cause) {
      this.fault('reply', `an event could not be acknowledged: ${String(cause)}`);
    }
  }

  private replyError(id: PacketId, error: MeshError): void {
    try {
      this.reply({ id, err: error.toWire(), isDisposed: true, status: 'error' });
    } catch (cause) {
      this.fault('reply', `an error could not be sent: ${String(cause)}`);
    }
  }

  private requestPacket(call: OutboundCall, id: PacketId): RequestPacket {
    const { request } = call;
    const { metadata } = request;
    if (this.peer.plain) {
      const packet: RequestPacket = { id, pattern: request.pattern, data: request.data };
      if (metadata !== undefined) packet.metadata = metadata;
      return packet;
    }
    const packet: RequestPacket = { id, pattern: request.route, data: request.data };
    if (metadata !== undefined) packet.metadata = metadata;
    if (request.timeoutMs > 0)
      packet.timeout = call.waited ? Math.max(1, Math.ceil(call.remainingMs())) : request.timeoutMs;
    return packet;
  }

  private failCalls(reason: MeshError, tellPeer = false): void {
    for (const call of [...this.calls.values()]) {
      const delivery = reason.delivery === 'refused' || !this.wasSent(call) ? 'not-sent' : 'unknown';
      call.fail(new MeshError('UNAVAILABLE', reason.rawMessage, { delivery, cause: reason }), tellPeer);
    }
  }

  private checkIdle(): void {
    if (this.idleListeners.length === 0 || this.openCalls > 0) return;
    const listeners = this.idleListeners;
    this.idleListeners = [];
    for (const listener of listeners) listener();
  }

  private fault(kind: string, message: string): void {
    if (this.faults.has(kind)) return;
    this.faults.add(kind);
    this.handler.onFault(`${this.frames.name}: ${message}`);
  }
}
