/** A packet channel: one long-lived stream that carries all ordinary calls and events between two nodes, both ways. */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import type { FramePayload } from '../protocol/frame.js';
import { HEADER } from '../protocol/headers.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import {
  packetKind,
  readLoad,
  readMetadata,
  type CancelPacket,
  type EventAck,
  type EventPacket,
  type LoadPacket,
  type LoadReport,
  type Metadata,
  type OpenPacket,
  type PlaceholderPacket,
  type RequestPacket,
  type ResponsePacket,
} from '../protocol/packet.js';
import { HEAD_BYTES } from '../protocol/frame-decoder.js';
import { EventLedger } from './event-ledger.js';
import type { FrameReader, FrameStream } from './frame-stream.js';
import type { InboundCall } from './inbound-call.js';
import { InboundCalls, type InboundCallsHost } from './inbound-calls.js';
import type { OutboundCall } from './outbound-call.js';
import { OutboundCalls, type OutboundCallsHost } from './outbound-calls.js';
import type { Peer } from './peer.js';
import { DialledStreams, REQUEST, WishedStreams, type StreamWish } from './peer-streams.js';
import { LargeMessages, overLimit, type LargeMessagesHost } from './large-messages.js';
import type { LargeFetchEvents } from './large-fetch.js';
import type { RawChannel } from './raw-channel.js';
import type { Session } from './session.js';
import type { AcceptedStream } from './stream-opening.js';
import { MAX_TOKEN_LENGTH } from './stream-tokens.js';

/** An event that a peer sent. */
export interface InboundEvent {
  readonly pattern: unknown;
  readonly data: unknown;
  readonly metadata: Metadata | undefined;
  /** The sender waits for an acknowledgement. @default nobody waits */
  readonly acknowledge?: Acknowledge | undefined;
}

/** An acknowledgement that is to be given. */
export interface Acknowledge {
  readonly when: EventAck;
  /** Its answer is the acknowledgement: completed, or failed. */
  readonly call: InboundCall;
}

/** Where a call or an event came from. */
export interface Origin {
  readonly peer: Peer;
  /** What the headers of the stream said. */
  readonly opening: { readonly sessionId: string; readonly metadata: Metadata };
  /** The packet channel on which it came, and on which the peer can be called back; `undefined` for a stream of its own. */
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
  /** An event that was handed over has not left as a whole, or the peer has not taken it. */
  onLargeEventLost(route: string, channel: PacketChannel, error: MeshError): void;
  /** The peer says how busy it is. */
  onLoad(report: LoadReport, channel: PacketChannel): void;
  /** The peer wants no new requests on this channel. */
  onDrain(channel: PacketChannel): void;
  /** The peer, which cannot open streams, wishes for one; answered by `channel.fulfil` or `channel.refuseWish`. */
  onWish(wish: StreamWish, channel: PacketChannel): void;
  /** The peer broke a rule; said once for each kind of fault and channel. */
  onFault(message: string): void;
  /** The channel is gone, with everything that was open on it. */
  onClosed(channel: PacketChannel, error: MeshError | undefined): void;
}

/** What a packet channel is made of beside its stream. */
export interface PacketChannelOptions {
  /** The node at the other end. */
  readonly peer: Peer;
  readonly session: Session;
  /** True when this node opened the channel. */
  readonly dialled: boolean;
  /** How this node says in headers who it is. */
  readonly identity: OutgoingHttpHeaders;
  /** How long the peer may take to answer when a further stream is opened, in ms. */
  readonly connectTimeoutMs: number;
  /** Packets over this many bytes have a stream of their own; 0 = never. */
  readonly largeMessageBytes: number;
  readonly handler: PacketHandler;
  readonly limits: WireLimits;
  /** What the headers of the stream said beside the peer itself. */
  readonly opening: Origin['opening'];
  /** @default JSON */
  readonly codec?: Codec | undefined;
}

export class PacketChannel
  implements FrameReader, Origin, OutboundCallsHost, InboundCallsHost, LargeMessagesHost
{
  readonly channel = this;
  readonly answersFrames = true;
  readonly peer: Peer;
  /** True when this node opened the channel. */
  readonly dialled: boolean;
  readonly opening: Origin['opening'];
  readonly limits: WireLimits;
  readonly codec: Codec;
  readonly keepsNothing: boolean;
  readonly readText: Codec['decodeText'];
  private readonly handler: PacketHandler;
  private readonly identity: OutgoingHttpHeaders;
  private readonly connectTimeoutMs: number;
  readonly streams: DialledStreams | WishedStreams;
  readonly large: LargeMessages;
  private readonly outbound: OutboundCalls;
  private readonly inbound: InboundCalls;
  private readonly events = new EventLedger();
  private eventsHeard = 0;
  private reports = 0;
  private readonly faults = new Set<string>();
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
    readonly frames: FrameStream,
    options: PacketChannelOptions,
  ) {
    const { session, identity } = options;
    this.peer = options.peer;
    this.dialled = options.dialled;
    this.opening = options.opening;
    this.limits = options.limits;
    this.codec = options.codec ?? JSON_CODEC;
    this.keepsNothing = !this.codec.keepsPayload;
    this.readText = this.codec.decodeText;
    this.handler = options.handler;
    this.identity = identity;
    this.connectTimeoutMs = options.connectTimeoutMs;
    this.streams = options.dialled
      ? new DialledStreams(session, identity)
      : new WishedStreams(session, identity, options.connectTimeoutMs, (wish) =>
          frames.send(this.codec.encode(wish)),
        );
    const never = options.peer.plain || options.largeMessageBytes === 0;
    this.large = new LargeMessages(this, never ? Infinity : options.largeMessageBytes);
    this.outbound = new OutboundCalls(this);
    this.inbound = new InboundCalls(this);
  }

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
    return this.outbound.size + this.inbound.size;
  }

  /** Events without an acknowledgement that were not handed to HTTP/2 yet; once the channel is closed, those that never will be. */
  get unsentEvents(): number {
    return this.events.unsent(this.frames.framesWritten);
  }

  /** Grows with all that goes over it, keep-alive and load excepted: a channel that is used shows another number each time. */
  get traffic(): number {
    return this.frames.framesQueued - this.reports + this.eventsHeard;
  }

  private get isIdle(): boolean {
    return this.openCalls === 0 && this.large.size === 0;
  }

  /** Sends the request of a call and carries it from here on. A request that cannot be sent fails the call. */
  request(call: OutboundCall): void {
    this.outbound.request(call);
  }

  /** Sends an event. Throws a `MeshError` (`not-sent`) when it cannot be sent. */
  event(pattern: unknown, route: string, data: unknown, metadata: Metadata | undefined): void {
    const packet: EventPacket = { pattern: this.peer.plain ? pattern : route, data };
    if (metadata !== undefined) packet.metadata = metadata;
    const payload = this.codec.encode(packet);
    if (this.large.isLarge(payload)) {
      this.largeEvent(route, payload);
      return;
    }
    this.sendEvent(payload);
  }

  /**
   * Opens a further stream to the peer, on which this node is the caller, whichever side dialled. Rejects with a `MeshError`:
   * `refused` as the peer says, `not-sent` when it did not answer within `timeoutMs`, and `UNIMPLEMENTED` when this node was
   * dialled by a peer that knows part 1 only.
   */
  openStream(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    if (this.closed)
      return Promise.reject(
        new MeshError('UNAVAILABLE', `${this.frames.name} is closed`, { delivery: 'not-sent' }),
      );
    if (!this.dialled && this.peer.plain) {
      const message = 'the peer knows part 1 of the protocol only: it opens no streams for others';
      return Promise.reject(new MeshError('UNIMPLEMENTED', message, { delivery: 'refused' }));
    }
    return this.streams.open(headers, timeoutMs);
  }

  /** Streams that stand, or are being opened, because the peer has wished for them. */
  get wishedStreams(): number {
    return this.streams instanceof DialledStreams ? this.streams.wished : 0;
  }

  /**
   * Opens the stream of a wish; its callee is this node, which says the headers as its answer. Rejects with a `MeshError` when the
   * peer no longer waits for it.
   */
  fulfil(token: string, headers: OutgoingHttpHeaders): Promise<AcceptedStream> {
    if (this.streams instanceof WishedStreams) return Promise.reject(cannotOpen());
    return this.streams.fulfil(token, headers, this.connectTimeoutMs);
  }

  /** Tells the peer why the stream of a wish is not opened. Rejects with a `MeshError` when it no longer waits for it. */
  refuseWish(token: string, error: MeshError): Promise<void> {
    if (this.streams instanceof WishedStreams) return Promise.reject(cannotOpen());
    return this.streams.refuse(token, error, this.connectTimeoutMs);
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

  /** Says how busy this node is, to a peer that takes that. Throws a `MeshError` when the peer does not read. */
  report({ open, delayMs }: LoadReport): void {
    if (this.closed || !this.peer.takesLoad || !this.frames.writable) return;
    this.frames.send(this.codec.encode({ load: { open, delayMs } }));
    this.reports += 1;
  }

  /** Calls `listener` once as soon as no call is open in either direction. */
  onIdle(listener: () => void): void {
    if (this.isIdle || this.closed) listener();
    else this.idleListeners.push(listener);
  }

  /** Fails the calls that are open, telling the peer, and ends our half once everything has left. */
  close(): void {
    this.outbound.failAll(new MeshError('UNAVAILABLE', 'the mesh node was closed'), {
      tellPeer: true,
    });
    this.frames.end();
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
    this.onValue(value, payload.length);
  }

  onValue(value: unknown, bytes: number): void {
    switch (packetKind(value)) {
      case 'response':
        this.outbound.onResponse(value as ResponsePacket, bytes);
        return;
      case 'request':
        this.inbound.onRequest(value as RequestPacket);
        return;
      case 'event':
        this.onEvent(value as EventPacket);
        return;
      case 'placeholder':
        if (this.peer.plain) break;
        this.outbound.onPlaceholder(value as PlaceholderPacket);
        return;
      case 'cancel':
        if (this.peer.plain) break;
        this.inbound.onCancel((value as CancelPacket).id);
        return;
      case 'drain':
        if (this.peer.plain) break;
        this.onDrain();
        return;
      case 'open':
        if (this.peer.plain) break;
        this.onOpen(value as OpenPacket);
        return;
      case 'load':
        if (this.peer.plain) break;
        this.onLoad(value as LoadPacket);
        return;
      case undefined:
    }
    // Of a peer that knows part 1 only, also what looks like a word of part 2 is a value of its own.
    this.onRaw(value, bytes);
  }

  /** A payload that is not of the codec: where its first bytes tell whose it was, that call ends. */
  private onUnreadable(payload: Buffer, error: MeshError): void {
    this.fault('payload', `${error.rawMessage}; it is ignored`);
    const peeked = this.codec.peekPacket(payload.subarray(0, HEAD_BYTES));
    if (peeked === undefined) return;
    if (peeked.isRequest) this.inbound.replyError(peeked.id, error.withDelivery('refused'));
    else this.outbound.get(peeked.id)?.fail(error.withDelivery('unknown'), true);
  }

  onOversize(declaredBytes: number, head: Buffer): void {
    const error = overLimit(declaredBytes, this.limits);
    const peeked = this.codec.peekPacket(head);
    if (peeked === undefined) {
      this.fault('oversize', error.rawMessage);
      // Peers of this version write the id first: without one it was an event, and nobody waits for it.
      if (!this.peer.plain && this.codec.isEventHead(head)) return;
      // Whose call it was cannot be told, so all of them end rather than one of them hanging.
      if (this.raw === undefined) this.frames.destroy(error.withDelivery('unknown'));
      else this.raw.close(error.withDelivery('unknown'));
    } else if (peeked.isRequest) {
      this.inbound.replyError(peeked.id, error);
    } else {
      this.outbound.get(peeked.id)?.fail(error.withDelivery('unknown'), true);
    }
  }

  onEnd(): void {
    this.raw?.onEnd();
    // The peer sends no more requests and no more answers: calls on their way out can only fail.
    this.outbound.failAll(new MeshError('UNAVAILABLE', `${this.frames.name} was ended by the peer`), {
      spareHeld: true,
    });
    this.peerDrains = true;
    if (this.raw === undefined) this.onIdle(() => this.frames.end());
  }

  onClose(error: MeshError | undefined): void {
    this.closed = true;
    this.raw?.onClose(error);
    const reason = error ?? new MeshError('UNAVAILABLE', `${this.frames.name} was closed`);
    this.streams.close(reason);
    this.large.close(new MeshError('UNAVAILABLE', reason.rawMessage, { cause: reason }));
    this.outbound.failAll(reason);
    this.inbound.cancelAll(reason);
    this.handler.onClosed(this, error);
    this.settleClosed();
  }

  private onOpen({ open: token, headers }: OpenPacket): void {
    if (!this.dialled)
      this.fault('open', 'the peer asked for a stream that it can open itself; it is ignored');
    else if (token === '' || token.length > MAX_TOKEN_LENGTH)
      this.fault(
        'open',
        `the peer asked for a stream with a token of ${token.length} characters; it is ignored`,
      );
    // Beyond `limits.maxChannels` they are refused, and each refusal is a stream for a moment.
    else if (this.wishedStreams >= 2 * this.limits.maxChannels)
      this.fault('wishes', 'the peer asks for streams faster than they can be refused; some are ignored');
    else {
      const wish = { token, headers: readMetadata(headers) ?? {} };
      if (wish.headers[HEADER.packet] === REQUEST) this.large.fetch(token, this.requestEvents());
      else this.handler.onWish(wish, this);
    }
  }

  /** The peer has opened a stream for one request or event of this channel. */
  takeRequest(stream: ServerHttp2Stream): void {
    this.large.fetchOf(this.requestEvents()).start(stream);
    // Only after it is read: Node ends a stream that has its answer and is not.
    stream.respond({ ':status': 200, ...this.identity }, { endStream: true });
  }

  private requestEvents(): LargeFetchEvents {
    return {
      onFrame: (payload) => this.onLargeRequest(payload),
      onOversize: (bytes, head) => {
        const peeked = this.codec.peekPacket(head);
        const error = overLimit(bytes, this.limits);
        if (peeked?.isRequest === true) this.inbound.replyError(peeked.id, error);
        else this.fault('oversize', error.rawMessage);
      },
      onFailure: (error) => {
        // Who cancels a call takes its stream away.
        if (error.code !== 'CANCELLED' && error.code !== 'NOT_FOUND')
          this.fault('large', `a large message did not arrive: ${error.rawMessage}`);
      },
      onSurplus: () => this.fault('surplus', 'the peer sent more than one frame on the stream of a packet'),
    };
  }

  private onLargeRequest(payload: Buffer): void {
    let value: unknown;
    try {
      value = this.codec.decode(payload);
    } catch (error) {
      this.onUnreadable(payload, MeshError.from(error));
      return;
    }
    const kind = packetKind(value);
    if (kind === 'request') this.inbound.onRequest(value as RequestPacket);
    else if (kind === 'event') this.onEvent(value as EventPacket);
    else this.fault('large', 'the peer sent what is no request on the stream of a request; it is ignored');
  }

  private onEvent({ id, pattern, data, metadata, timeout, ack }: EventPacket): void {
    this.eventsHeard += 1;
    if (id === undefined) this.handler.onEvent({ pattern, data, metadata: readMetadata(metadata) }, this);
    else this.inbound.onEvent({ id, pattern, data, metadata, timeout }, ack);
  }

  private sendEvent(payload: FramePayload): void {
    const { framesQueued, framesWritten } = this.frames;
    this.frames.send(payload);
    this.events.note(framesQueued, framesWritten);
  }

  private largeEvent(route: string, payload: FramePayload): void {
    const onFailure = (error: MeshError): void => this.handler.onLargeEventLost(route, this, error);
    const send = this.large.send(payload, undefined, { onDone: doNothing, onFailure });
    if (send === undefined) this.sendEvent(payload);
  }

  private onLoad(packet: LoadPacket): void {
    const report = readLoad(packet);
    if (report !== undefined) this.handler.onLoad(report, this);
  }

  private onDrain(): void {
    if (this.peerDrains) return;
    this.peerDrains = true;
    this.handler.onDrain(this);
    // The end of our half tells the peer that nothing more was on its way. Who opened the channel may go on using it.
    if (this.dialled || !this.peer.listens) this.onIdle(() => this.frames.end());
  }

  onUnasked(packet: ResponsePacket, bytes: number): void {
    if (this.peer.plain) this.onRaw(packet, bytes);
    else
      this.fault('response', `the peer answered a call that was never made: id ${JSON.stringify(packet.id)}`);
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

  // --- what the calls on it need

  dispatch(call: InboundCall): void {
    this.handler.onRequest(call, this);
  }

  dispatchEvent(call: InboundCall, when: EventAck): void {
    const { pattern, data, metadata } = call;
    this.handler.onEvent({ pattern, data, metadata, acknowledge: { when, call } }, this);
  }

  checkIdle(): void {
    if (this.idleListeners.length === 0 || !this.isIdle) return;
    const listeners = this.idleListeners;
    this.idleListeners = [];
    for (const listener of listeners) listener();
  }

  fault(kind: string, message: string): void {
    if (this.faults.has(kind)) return;
    this.faults.add(kind);
    this.handler.onFault(`${this.frames.name}: ${message}`);
  }
}

function doNothing(): void {
  // An event has no answer.
}

function cannotOpen(): MeshError {
  return new MeshError('INTERNAL', 'only the side that dialled can open a stream for its peer');
}
