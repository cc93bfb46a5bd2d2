/** The streams of their own that this node opens to others: raw channels and call streams. */
import { randomUUID } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http2';
import { DEFAULT_CHANNEL, HEADER, metadataFault } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import { CallingStream, type StreamInput } from '../transport/calling-stream.js';
import { FrameStream } from '../transport/frame-stream.js';
import { peerOf } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { startRawChannel } from '../transport/raw-stream.js';
import type { Directory, NodeWish } from './directory.js';
import type { ChannelOpening } from './handlers.js';
import type { ResolvedOptions } from './mesh-options.js';
import { openingOf } from './opening.js';
import { waitForNode } from './pending.js';

/** How a raw channel is asked for. */
export interface OpenChannelRequest {
  /** `undefined`: the default channel. */
  readonly name: string | undefined;
  readonly metadata: Metadata | undefined;
  /** @default a new UUID */
  readonly sessionId: string | undefined;
  /** How long it may wait for a node, in ms; 0 = for ever. */
  readonly timeoutMs: number;
}

/** A raw channel that the peer has accepted. */
export interface OpenedChannel {
  readonly channel: RawChannel;
  readonly opening: ChannelOpening;
}

/** A call on a stream of its own. */
export interface StreamCallRequest {
  /** The pattern as a string, as handlers are found by it. */
  readonly route: string;
  readonly input: StreamInput;
  readonly metadata: Metadata | undefined;
  /** Until the first value of the answer, or its end, in ms; 0 = for ever. */
  readonly timeoutMs: number;
}

export class OutboundStreams {
  private readonly channels = new Set<RawChannel>();
  private readonly calls = new Set<CallingStream>();

  constructor(private readonly options: ResolvedOptions) {}

  /** Opens a raw channel on a node of the directory. */
  async openChannel(
    directory: Directory,
    wish: NodeWish,
    request: OpenChannelRequest,
  ): Promise<OpenedChannel> {
    const { name, metadata = {}, sessionId = randomUUID(), timeoutMs } = request;
    const fault = metadataFault(metadata);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', fault, { delivery: 'not-sent' });
    const what = `channel ${name ?? DEFAULT_CHANNEL}`;
    const { node } = await waitForNode(directory, wish, directory.pick(wish), timeoutMs, what, true);
    const { stream, headers } = await node.openStream({
      ...metadata,
      [HEADER.channel]: name === undefined ? DEFAULT_CHANNEL : encodeURIComponent(name),
      [HEADER.sessionId]: sessionId,
    });
    const { limits, logger } = this.options;
    const frames = new FrameStream(
      stream,
      limits,
      `the raw channel to ${directory.service} (${node.address})`,
    );
    const channel = startRawChannel(frames, (message) => logger.warn(message));
    this.channels.add(channel);
    void channel.whenClosed.then(() => this.channels.delete(channel));
    const peer = peerOf(headers, node.address, directory.service);
    return {
      channel,
      opening: { name, peer, sessionId, metadata: openingOf(headers).metadata, carrier: undefined },
    };
  }

  /** Begins a call on a stream of its own. Rejects with `UNIMPLEMENTED` (`refused`) for peers that know none. */
  async openCall(directory: Directory, wish: NodeWish, request: StreamCallRequest): Promise<CallingStream> {
    const { route, input, timeoutMs: limitMs } = request;
    const began = performance.now();
    // Who the peer is must be known first: one that knows part 1 only would take the stream for a channel.
    const { node, channel } = await waitForNode(directory, wish, directory.pick(wish), limitMs, route, false);
    // What the waiting has left of the limit.
    const timeoutMs = limitMs === 0 ? 0 : Math.max(1, limitMs - (performance.now() - began));
    const origin = { service: directory.service, nodeId: node.id, pattern: route };
    if (channel?.peer.plain === true) {
      throw new MeshError('UNIMPLEMENTED', 'the peer knows no call streams', {
        ...origin,
        delivery: 'refused',
      });
    }
    const { stream } = await node.openStream(callHeaders(request, timeoutMs)).catch((error: unknown) => {
      throw MeshError.from(error).at(origin);
    });
    const name = `the call of '${route}' to ${directory.service} (${node.address})`;
    const call = new CallingStream(new FrameStream(stream, this.options.limits, name), { origin, timeoutMs });
    this.calls.add(call);
    void call.whenClosed.then(() => this.calls.delete(call));
    call.start(input);
    return call;
  }

  /** Ends all of them: the calls fail, the channels close. */
  close(): void {
    for (const channel of this.channels) channel.close();
    for (const call of this.calls) call.fail(new MeshError('UNAVAILABLE', 'the mesh node was closed'));
  }
}

function callHeaders({ route, input, metadata }: StreamCallRequest, timeoutMs: number): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { [HEADER.pattern]: encodeURIComponent(route) };
  if ('data' in input) headers[HEADER.input] = 'value';
  if (timeoutMs > 0) headers[HEADER.timeout] = String(Math.ceil(timeoutMs));
  if (metadata !== undefined) headers[HEADER.metadata] = encodeURIComponent(JSON.stringify(metadata));
  return headers;
}
