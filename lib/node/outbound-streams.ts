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
import { OpenStreams } from './open-streams.js';
import { openingOf } from './opening.js';
import { waitForNode, type NodeWait } from './pending.js';
import type { StreamCounts } from './peer-status.js';
import type { RemoteNode } from './remote-node.js';
import type { AcceptedStream } from '../transport/stream-opening.js';

/** How a raw channel is asked for. */
export interface OpenChannelRequest {
  /** `undefined`: the default channel. */
  readonly name: string | undefined;
  readonly metadata: Metadata | undefined;
  /** @default a new UUID */
  readonly sessionId: string | undefined;
  /** How long it may wait for a node, in ms; 0 = for ever. */
  readonly timeoutMs: number;
  /** Aborting it ends the waiting. */
  readonly signal?: AbortSignal | undefined;
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
  /** Aborting it ends the waiting for a node. */
  readonly signal?: AbortSignal | undefined;
}

/** A stream that a node has accepted. */
interface OpenedStream extends AcceptedStream {
  readonly node: RemoteNode;
  /** What the waiting has left of the time limit, in ms; 0 = no limit. */
  readonly leftMs: number;
}

export class OutboundStreams implements StreamCounts {
  private readonly channels = new OpenStreams<RawChannel>();
  private readonly calls = new OpenStreams<CallingStream>();

  constructor(private readonly options: ResolvedOptions) {}

  callsOf(peer: string): number {
    return this.calls.countOf(peer);
  }

  channelsOf(peer: string): number {
    return this.channels.countOf(peer);
  }

  /** Opens a raw channel on a node of the directory. */
  async openChannel(
    directory: Directory,
    wish: NodeWish,
    request: OpenChannelRequest,
  ): Promise<OpenedChannel> {
    const { name, metadata = {}, sessionId = randomUUID(), timeoutMs, signal } = request;
    const fault = metadataFault(metadata);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', fault, { delivery: 'not-sent' });
    const headers = {
      ...metadata,
      [HEADER.channel]: name === undefined ? DEFAULT_CHANNEL : encodeURIComponent(name),
      [HEADER.sessionId]: sessionId,
    };
    const what = `channel ${name ?? DEFAULT_CHANNEL}`;
    const opened = await this.open(
      directory,
      wish,
      { what, timeoutMs, signal, anyNode: true },
      () => headers,
    );
    const { limits, logger } = this.options;
    const { address } = opened.node;
    const frames = new FrameStream(
      opened.stream,
      limits,
      `the raw channel to ${directory.service} (${address})`,
    );
    const channel = startRawChannel(frames, (message) => logger.warn(message));
    this.channels.add(channel, opened.node.id);
    const peer = peerOf(opened.headers, address, directory.service);
    const { metadata: answered } = openingOf(opened.headers);
    return { channel, opening: { name, peer, sessionId, metadata: answered, carrier: undefined } };
  }

  /** Begins a call on a stream of its own. Rejects with `UNIMPLEMENTED` (`refused`) for peers that know none. */
  async openCall(directory: Directory, wish: NodeWish, request: StreamCallRequest): Promise<CallingStream> {
    const { route, input, timeoutMs, signal } = request;
    // Who the peer is must be known first: one that knows part 1 only would take the stream for a channel.
    const wait = { what: route, timeoutMs, signal, anyNode: false };
    const { node, stream, leftMs } = await this.open(directory, wish, wait, (left) =>
      callHeaders(request, left),
    );
    const name = `the call of '${route}' to ${directory.service} (${node.address})`;
    const origin = { service: directory.service, nodeId: node.id, pattern: route };
    const frames = new FrameStream(stream, this.options.limits, name);
    const call = new CallingStream(frames, { origin, timeoutMs: leftMs });
    this.calls.add(call, node.id);
    call.start(input);
    return call;
  }

  /** Opens a stream on a node; one that cannot be reached is passed over for another, as long as there is time. */
  private async open(
    directory: Directory,
    wish: NodeWish,
    wait: NodeWait,
    headers: (leftMs: number) => OutgoingHttpHeaders,
  ): Promise<OpenedStream> {
    const { timeoutMs, what } = wait;
    const began = performance.now();
    const left = (): number =>
      timeoutMs === 0 ? 0 : Math.max(1, Math.ceil(timeoutMs - (performance.now() - began)));
    for (;;) {
      const { node, channel } = await waitForNode(directory, wish, directory.pick(wish), {
        ...wait,
        timeoutMs: left(),
      });
      const origin = { service: directory.service, nodeId: node.id, pattern: what };
      if (channel?.peer.plain === true) {
        throw new MeshError('UNIMPLEMENTED', 'the peer knows no call streams', {
          ...origin,
          delivery: 'refused',
        });
      }
      const leftMs = left();
      try {
        return { ...(await node.openStream(headers(leftMs))), node, leftMs };
      } catch (error) {
        const failure = MeshError.from(error).at(origin);
        if (failure.delivery !== 'not-sent' || failure.code !== 'UNAVAILABLE' || node.available)
          throw failure;
      }
    }
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
