/** The streams of their own that this node opens to others: raw channels and call streams. */
import { randomUUID } from 'node:crypto';
import { constants, type OutgoingHttpHeaders } from 'node:http2';
import { codecHeaders } from '../protocol/codecs.js';
import { DEFAULT_CHANNEL, HEADER, metadataFault } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import { CallingStream, type StreamInput } from '../transport/calling-stream.js';
import { FrameStream } from '../transport/frame-stream.js';
import { peerOf } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { startRawChannel } from '../transport/raw-stream.js';
import { resetStream } from '../transport/reset.js';
import { codecOfAnswer } from './channel-codec.js';
import type { ChannelOpening } from './handlers.js';
import type { ResolvedOptions } from './mesh-options.js';
import { OpenStreams } from './open-streams.js';
import { openingOf } from './opening.js';
import type { StreamCounts } from './peer-status.js';
import type { NodeWait } from './pending.js';
import { closedError } from './refusals.js';
import type { OpenedStream, StreamTarget } from './stream-targets.js';

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

export class OutboundStreams implements StreamCounts {
  private readonly channels = new OpenStreams<RawChannel>();
  private readonly calls = new OpenStreams<CallingStream>();
  private closed = false;

  constructor(private readonly options: ResolvedOptions) {}

  callsOf(peer: string): number {
    return this.calls.countOf(peer);
  }

  channelsOf(peer: string): number {
    return this.channels.countOf(peer);
  }

  /** Opens a raw channel. */
  async openChannel(target: StreamTarget, request: OpenChannelRequest): Promise<OpenedChannel> {
    const { name, metadata = {}, sessionId = randomUUID(), timeoutMs, signal } = request;
    const fault = metadataFault(metadata);
    if (fault !== undefined) throw new MeshError('INVALID_ARGUMENT', fault, { delivery: 'not-sent' });
    const headers = {
      ...metadata,
      [HEADER.channel]: name === undefined ? DEFAULT_CHANNEL : encodeURIComponent(name),
      [HEADER.sessionId]: sessionId,
      ...codecHeaders(this.options.codec),
    };
    const what = `channel ${name ?? DEFAULT_CHANNEL}`;
    const opened = await this.open(target, { what, timeoutMs, signal, anyNode: true }, () => headers);
    const { limits, logger, codec: offered } = this.options;
    const codec = codecOfAnswer(offered, opened);
    const { address } = opened;
    const frames = new FrameStream(
      opened.stream,
      limits,
      `the raw channel to ${target.service} (${address})`,
    );
    const channel = startRawChannel(frames, (message) => logger.warn(message), codec);
    const peer = peerOf(opened.headers, address, target.service);
    this.channels.add(channel, opened.peerKey);
    const { metadata: answered } = openingOf(opened.headers);
    return { channel, opening: { name, peer, sessionId, metadata: answered, carrier: undefined } };
  }

  /** Begins a call on a stream of its own. Rejects with `UNIMPLEMENTED` (`refused`) for peers that know none. */
  async openCall(target: StreamTarget, request: StreamCallRequest): Promise<CallingStream> {
    const { route, input, timeoutMs, signal } = request;
    // Who the peer is must be known first: one that knows part 1 only would take the stream for a channel.
    const wait = { what: route, timeoutMs, signal, anyNode: false };
    const { codec: offered, limits } = this.options;
    const opened = await this.open(target, wait, (left) => ({
      ...callHeaders(request, left),
      ...codecHeaders(offered),
    }));
    const codec = codecOfAnswer(offered, opened);
    const { nodeId, address, stream, leftMs, peerKey } = opened;
    const name = `the call of '${route}' to ${target.service} (${address})`;
    const origin = { service: target.service, nodeId, pattern: route };
    const frames = new FrameStream(stream, limits, name);
    const call = new CallingStream(frames, { origin, timeoutMs: leftMs }, codec);
    this.calls.add(call, peerKey);
    call.start(input);
    return call;
  }

  /** Ends all of them: the calls fail, the channels close. */
  close(): void {
    this.closed = true;
    for (const channel of this.channels) channel.close();
    for (const call of this.calls) call.fail(new MeshError('UNAVAILABLE', 'the mesh node was closed'));
  }

  private async open(
    target: StreamTarget,
    wait: NodeWait,
    headers: (leftMs: number) => OutgoingHttpHeaders,
  ): Promise<OpenedStream> {
    const opened = await target.open(wait, headers);
    if (!this.closed) return opened;
    // It was on its way while everything else was closed.
    opened.stream.on('error', ignore);
    resetStream(opened.stream, constants.NGHTTP2_CANCEL);
    throw closedError();
  }
}

function callHeaders({ route, input, metadata }: StreamCallRequest, timeoutMs: number): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { [HEADER.pattern]: encodeURIComponent(route) };
  if ('data' in input) headers[HEADER.input] = 'value';
  if (timeoutMs > 0) headers[HEADER.timeout] = String(Math.ceil(timeoutMs));
  if (metadata !== undefined) headers[HEADER.metadata] = encodeURIComponent(JSON.stringify(metadata));
  return headers;
}

function ignore(): void {
  // Nobody has the stream.
}
