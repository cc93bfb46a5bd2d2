/** What peers ask for in packets: handed to who answers it, or answered here when nobody does. */
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent, Origin, PacketChannel, PacketHandler } from '../transport/packet-channel.js';
import type { StreamWish } from '../transport/peer-streams.js';
import { RawChannel } from '../transport/raw-channel.js';
import { residualLinkOf } from '../transport/residual-link.js';
import type { MeshError } from '../protocol/mesh-error.js';
import type { LoadReport } from '../protocol/packet.js';
import type { EventCounts } from './event-counts.js';
import type { NodeHandlers } from './handlers.js';
import type { ResolvedOptions } from './mesh-options.js';
import { answersNoCalls } from './refusals.js';

/** What the packets mean for the node beside their handlers. */
export interface InboundPacketsDeps {
  readonly options: ResolvedOptions;
  onWish(wish: StreamWish, channel: PacketChannel): void;
  readonly events: EventCounts;
  onDrain(channel: PacketChannel): void;
  onLoad(report: LoadReport, channel: PacketChannel): void;
  onClosed(channel: PacketChannel, error: MeshError | undefined): void;
}

export class InboundPackets implements PacketHandler {
  /** Who answers; `undefined`: nobody. */
  handlers: NodeHandlers | undefined;

  constructor(private readonly deps: InboundPacketsDeps) {}

  onRequest(call: InboundCall, channel: PacketChannel): void {
    if (this.handlers !== undefined) this.handlers.onRequest(call, channel);
    else call.fail(answersNoCalls(this.deps.options.service));
  }

  onEvent(event: InboundEvent, origin: Origin): void {
    const { options, events } = this.deps;
    const { acknowledge } = event;
    events.received += 1;
    if (this.handlers === undefined) {
      events.unhandled += 1;
      options.logger.warn(
        `an event of ${origin.peer.service} was lost: service '${options.service}' takes none`,
      );
      acknowledge?.call.fail(answersNoCalls(options.service));
      return;
    }
    this.handlers.onEvent(event, origin);
    // Does nothing when there was no handler, which has ended the call already.
    if (acknowledge?.when === 'received') this.acknowledged(acknowledge.call);
  }

  /** They were counted as sent when they were queued. */
  private countUnsent({ peer, unsentEvents }: PacketChannel): void {
    if (unsentEvents === 0) return;
    const { events, options } = this.deps;
    events.sent -= unsentEvents;
    events.lost += unsentEvents;
    options.logger.warn(
      `${unsentEvents} event(s) for '${peer.service}' (${peer.address}) were lost: the channel closed before they had left`,
    );
  }

  onLargeEventLost(route: string, { peer }: PacketChannel, error: MeshError): void {
    const { events, options } = this.deps;
    events.sent -= 1;
    events.lost += 1;
    options.logger.warn(
      `the event '${route}' for '${peer.service}' (${peer.address}) was lost on its way: ${error.rawMessage}`,
    );
  }

  private acknowledged(call: InboundCall): void {
    try {
      call.complete();
    } catch (error) {
      this.onFault(`an event could not be acknowledged: ${String(error)}`);
    }
  }

  onDefaultRaw(carrier: PacketChannel): RawChannel | undefined {
    const { handlers } = this;
    if (handlers?.hasChannel(undefined) !== true) return undefined;
    const channel = new RawChannel(residualLinkOf(carrier), carrier.codec);
    const { sessionId, metadata } = carrier.opening;
    // The channel must be in place before its handler can speak.
    queueMicrotask(() =>
      handlers.onChannel(channel, { name: undefined, peer: carrier.peer, sessionId, metadata, carrier }),
    );
    return channel;
  }

  onWish(wish: StreamWish, channel: PacketChannel): void {
    this.deps.onWish(wish, channel);
  }

  onLoad(report: LoadReport, channel: PacketChannel): void {
    this.deps.onLoad(report, channel);
  }

  onDrain(channel: PacketChannel): void {
    this.deps.onDrain(channel);
  }

  onFault(message: string): void {
    this.deps.options.logger.warn(message);
  }

  onClosed(channel: PacketChannel, error: MeshError | undefined): void {
    this.countUnsent(channel);
    this.deps.onClosed(channel, error);
  }
}
