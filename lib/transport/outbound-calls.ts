/** The calls that this node makes on one packet channel: their ids, their requests and the way back of their answers. */
import type { Codec } from '../protocol/codec.js';
import { tagError } from '../protocol/error-id.js';
import { MeshError } from '../protocol/mesh-error.js';
import type {
  CancelPacket,
  EventAck,
  EventPacket,
  PacketId,
  RequestPacket,
  ResponsePacket,
} from '../protocol/packet.js';
import type { FrameStream } from './frame-stream.js';
import type { CallCarrier, OutboundCall } from './outbound-call.js';
import type { Peer } from './peer.js';

/** What the calls need of their channel. */
export interface OutboundCallsHost {
  readonly frames: FrameStream;
  readonly codec: Codec;
  readonly peer: Peer;
  /** A call has ended. */
  checkIdle(): void;
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
      frames.send(codec.encode(this.packetOf(call, id)));
    } catch (error) {
      call.fail(MeshError.from(error, 'INTERNAL').withDelivery('not-sent'));
    }
  }

  wasSent(call: OutboundCall): boolean {
    return call.frameNumber < this.host.frames.framesWritten;
  }

  release(call: OutboundCall, tellPeer: boolean): void {
    if (!this.calls.delete(call.id)) return;
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
  onResponse(packet: ResponsePacket): void {
    const call = this.calls.get(packet.id);
    if (call !== undefined) {
      const { err } = packet;
      const own = err === undefined ? undefined : MeshError.fromWire(err);
      if (own !== undefined) call.fail(own);
      else {
        if (err !== undefined) tagError(err, packet.errorId);
        call.receive(packet);
      }
      return;
    }
    // Late answers of calls that were cancelled are expected; ids that were never given out are not.
    const late =
      typeof packet.id === 'number' &&
      Number.isInteger(packet.id) &&
      packet.id > 0 &&
      packet.id < this.nextId;
    if (!late)
      this.host.fault(
        'response',
        `the peer answered a call that was never made: id ${JSON.stringify(packet.id)}`,
      );
  }

  /** Fails every open call; `tellPeer` also sends cancels. */
  failAll(reason: MeshError, tellPeer = false): void {
    for (const call of [...this.calls.values()]) {
      const delivery = reason.delivery === 'refused' || !this.wasSent(call) ? 'not-sent' : 'unknown';
      call.fail(new MeshError('UNAVAILABLE', reason.rawMessage, { delivery, cause: reason }), tellPeer);
    }
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
