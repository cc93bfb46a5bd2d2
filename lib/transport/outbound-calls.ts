/** The calls that this node makes on one packet channel: their ids, their requests and the way back of their answers. */
import type { Codec } from '../protocol/codec.js';
import { tagError } from '../protocol/error-id.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import {
  packetKind,
  type CancelPacket,
  type EventAck,
  type EventPacket,
  type PacketId,
  type PlaceholderPacket,
  type RequestPacket,
  type ResponsePacket,
} from '../protocol/packet.js';
import type { FramePayload } from '../protocol/frame.js';
import type { FrameStream } from './frame-stream.js';
import { HeldAnswer } from './held-answer.js';
import { overLimit, type LargeMessages } from './large-messages.js';
import type { CallCarrier, OutboundCall } from './outbound-call.js';
import type { Peer } from './peer.js';
import type { PeerStreams } from './peer-streams.js';
import { MAX_TOKEN_LENGTH } from './stream-tokens.js';

/** What the calls need of their channel. */
export interface OutboundCallsHost {
  readonly frames: FrameStream;
  readonly codec: Codec;
  readonly peer: Peer;
  readonly limits: WireLimits;
  readonly large: LargeMessages;
  readonly streams: PeerStreams;
  /** A call has ended. */
  checkIdle(): void;
  /** What looks like an answer to a call that was never made. */
  onUnasked(packet: ResponsePacket, bytes: number): void;
  /** The peer broke a rule, or something could not be sent. */
  fault(kind: string, message: string): void;
}

export class OutboundCalls implements CallCarrier {
  private readonly calls = new Map<PacketId, OutboundCall>();
  private nextId = 1;

  constructor(private readonly host: OutboundCallsHost) {}

  /** Calls that have no end yet. */
  get size(): number {
    return this.calls.size;
  }

  get peerNodeId(): string | undefined {
    return this.host.peer.nodeId;
  }

  get(id: PacketId): OutboundCall | undefined {
    return this.calls.get(id);
  }

  /** Sends the request of a call and carries it from here on. A request that cannot be sent fails the call. */
  request(call: OutboundCall): void {
    const { frames, codec, peer } = this.host;
    const id = this.nextId++;
    call.id = id;
    call.carrier = this;
    call.describeWait = undefined;
    call.frameNumber = frames.framesQueued;
    if (call.request.ack !== undefined && peer.plain) {
      call.fail(noAcknowledgement());
      return;
    }
    this.calls.set(id, call);
    try {
      const payload = codec.encode(this.packetOf(call, id));
      if (this.host.large.isLarge(payload)) this.requestLarge(call, payload);
      else frames.send(payload);
    } catch (error) {
      call.fail(MeshError.from(error, 'INTERNAL').withDelivery('not-sent'));
    }
  }

  wasSent(call: OutboundCall): boolean {
    return call.large === undefined ? call.frameNumber < this.host.frames.framesWritten : call.large.sent;
  }

  release(call: OutboundCall, tellPeer: boolean): void {
    if (!this.calls.delete(call.id)) return;
    call.large?.cancel();
    call.held?.drop();
    const { frames, codec, peer } = this.host;
    if (tellPeer && !peer.plain && frames.writable) {
      const cancel: CancelPacket = { id: call.id, cancel: true };
      try {
        frames.send(codec.encode(cancel));
      } catch (error) {
        this.host.fault('cancel', `a cancel could not be sent: ${String(error)}`);
      }
    }
    this.host.checkIdle();
  }

  /** A packet of an answer has come. */
  onResponse(packet: ResponsePacket, bytes: number): void {
    const call = this.calls.get(packet.id);
    if (call !== undefined) {
      if (call.held === undefined) deliver(call, packet);
      else this.hold(call, call.held, packet, bytes);
      return;
    }
    // Late answers of calls that were cancelled are expected; ids that were never given out are not.
    const late =
      typeof packet.id === 'number' &&
      Number.isInteger(packet.id) &&
      packet.id > 0 &&
      packet.id < this.nextId;
    if (!late) this.host.onUnasked(packet, bytes);
  }

  /** The next packet of an answer comes on a stream of its own, or it was to come there and cannot. */
  onPlaceholder(packet: PlaceholderPacket): void {
    const { id, open: token, err } = packet;
    const call = this.calls.get(id);
    if (call === undefined) {
      this.host.streams.discard(token);
      // Says so when the id was never given out.
      this.onResponse({ id, isDisposed: true }, 0);
      return;
    }
    if (err !== undefined) {
      const failure = { id, err, isDisposed: true };
      if (call.held?.fill(token, failure) === true) this.deliverHeld(call, call.held);
      else this.onResponse(failure, 0);
    } else if (token === '' || token.length > MAX_TOKEN_LENGTH) {
      call.fail(brokenAnswer(`a token of ${token.length} characters`), true);
    } else if (call.held?.waitsFor(token) === true) {
      call.fail(brokenAnswer('a token for the second time'), true);
    } else if (this.host.large.size >= this.host.limits.maxChannels) {
      const most = `limits.maxChannels (${this.host.limits.maxChannels})`;
      call.fail(
        new MeshError('RESOURCE_EXHAUSTED', `more than ${most} large messages are on their way`),
        true,
      );
    } else this.fetch(call, token);
  }

  /** Fails every open call; `tellPeer` also sends cancels, `spareHeld` leaves those whose answer is on a stream of its own. */
  failAll(reason: MeshError, { tellPeer = false, spareHeld = false } = {}): void {
    for (const call of [...this.calls.values()]) {
      if (spareHeld && call.held !== undefined) continue;
      const delivery = reason.delivery === 'refused' || !this.wasSent(call) ? 'not-sent' : 'unknown';
      call.fail(new MeshError('UNAVAILABLE', reason.rawMessage, { delivery, cause: reason }), tellPeer);
    }
  }

  private requestLarge(call: OutboundCall, payload: FramePayload): void {
    call.large = this.host.large.send(payload, undefined, {
      onDone: doNothing,
      onFailure: (error) => call.fail(error, error.delivery === 'unknown'),
    });
    if (call.large === undefined) this.host.frames.send(payload);
  }

  private fetch(call: OutboundCall, token: string): void {
    const held = (call.held ??= new HeldAnswer());
    held.keepPlace(token);
    const giveUp = (error: MeshError): void => call.fail(error.withDelivery('unknown'), true);
    const fetch = this.host.large.fetch(token, {
      onFrame: (payload) => {
        let packet: unknown;
        try {
          packet = this.host.codec.decode(payload);
        } catch (error) {
          giveUp(MeshError.from(error));
          return;
        }
        if (packetKind(packet) !== 'response' || (packet as ResponsePacket).id !== call.id)
          giveUp(brokenAnswer('what is no packet of it'));
        else if (held.fill(token, packet as ResponsePacket)) this.deliverHeld(call, held);
      },
      onOversize: (bytes) => giveUp(overLimit(bytes, this.host.limits)),
      onFailure: (error) =>
        giveUp(error.code === 'NOT_FOUND' ? new MeshError('UNAVAILABLE', error.rawMessage) : error),
      onSurplus: () =>
        this.host.fault('large', 'the peer sent more than one frame on the stream of a packet'),
    });
    held.fetching(token, fetch);
  }

  private hold(call: OutboundCall, held: HeldAnswer, packet: ResponsePacket, bytes: number): void {
    held.add(packet, bytes);
    const { maxPendingBytes } = this.host.limits;
    if (held.bytes > maxPendingBytes) {
      const most = `limits.maxPendingBytes (${maxPendingBytes})`;
      call.fail(new MeshError('RESOURCE_EXHAUSTED', `over ${most} wait behind a large message`), true);
    }
  }

  private deliverHeld(call: OutboundCall, held: HeldAnswer): void {
    for (let packet = held.shift(); packet !== undefined; packet = held.shift()) {
      deliver(call, packet);
    }
    if (held.empty) call.held = undefined;
  }

  private packetOf(call: OutboundCall, id: PacketId): RequestPacket | EventPacket {
    const { request } = call;
    const { metadata } = request;
    if (this.host.peer.plain) {
      const packet: RequestPacket = { id, pattern: request.pattern, data: request.data };
      if (metadata !== undefined) packet.metadata = metadata;
      return packet;
    }
    const packet: RequestPacket = { id, pattern: request.route, data: request.data };
    if (metadata !== undefined) packet.metadata = metadata;
    if (request.timeoutMs > 0)
      packet.timeout = call.waited ? Math.max(1, Math.ceil(call.remainingMs())) : request.timeoutMs;
    return request.ack === undefined ? packet : eventOf(packet, request.ack);
  }
}

/** The order of the members counts: the head of a frame that is too long to be read tells whose it was. */
function eventOf({ id, ...rest }: RequestPacket, ack: EventAck): EventPacket {
  return ack === 'handled' ? { id, event: true, ...rest, ack } : { id, event: true, ...rest };
}

function noAcknowledgement(): MeshError {
  return new MeshError('UNIMPLEMENTED', 'the peer knows no acknowledged events: emit it without "ack"', {
    delivery: 'refused',
  });
}

function deliver(call: OutboundCall, packet: ResponsePacket): void {
  const { err } = packet;
  const own = err === undefined ? undefined : MeshError.fromWire(err);
  if (own !== undefined) call.fail(own);
  else {
    if (err !== undefined) tagError(err, packet.errorId);
    call.receive(packet);
  }
}

function brokenAnswer(what: string): MeshError {
  return new MeshError('UNAVAILABLE', `the peer sent ${what} in the place of a packet of the answer`);
}

function doNothing(): void {
  // The answer tells what has become of it.
}
