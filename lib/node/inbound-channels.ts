/** The channels that peers open to this node. */
import type { IncomingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import { DEFAULT_CHANNEL, HEADER, headerOf } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import { FrameStream } from '../transport/frame-stream.js';
import { refuse, type ChannelAcceptor } from '../transport/listener.js';
import { PacketChannel, type Origin, type PacketHandler } from '../transport/packet-channel.js';
import { peerOf, type Peer } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { startRawChannel } from '../transport/raw-stream.js';
import { ServedStream } from '../transport/served-stream.js';
import type { Session } from '../transport/session.js';
import type { UnaryPath } from '../transport/unary-path.js';
import type { ServedCall } from './drain.js';
import { identityHeaders, openingOf, readHeaderMetadata, readHeaderTimeoutMs } from './opening.js';
import { OpenStreams } from './open-streams.js';
import { keyOf, type StreamCounts } from './peer-status.js';
import { answersNoCalls, tooLate } from './refusals.js';
import { UnaryRequests, type UnaryDeps } from './unary-requests.js';

/** What the acceptor needs of its node. */
export interface InboundDeps extends UnaryDeps {
  readonly packets: PacketHandler;
  readonly onFault: (message: string) => void;
  /** A node has opened a packet channel to us. */
  readonly onChannel: (channel: PacketChannel) => void;
}

export class InboundChannels implements ChannelAcceptor, StreamCounts {
  private readonly packetChannels = new Set<PacketChannel>();
  private readonly byNode = new Map<string, PacketChannel>();
  private readonly rawChannels = new OpenStreams<RawChannel>();
  private readonly servedStreams = new OpenStreams<ServedCall>();
  private readonly unary: UnaryRequests;

  constructor(private readonly deps: InboundDeps) {
    this.unary = new UnaryRequests(deps, (call, { peer }) => this.servedStreams.add(call, keyOf(peer)));
  }

  /** The packet channels that peers hold open. */
  get channels(): ReadonlySet<PacketChannel> {
    return this.packetChannels;
  }

  /** The raw channels that peers hold open. */
  get raw(): OpenStreams<RawChannel> {
    return this.rawChannels;
  }

  /** The calls on streams of their own that are being answered. */
  get streams(): OpenStreams<ServedCall> {
    return this.servedStreams;
  }

  callsOf(peer: string): number {
    return this.servedStreams.countOf(peer);
  }

  channelsOf(peer: string): number {
    return this.rawChannels.countOf(peer);
  }

  /** The packet channel that the node has opened to us. */
  ofNode(nodeId: string): PacketChannel | undefined {
    return this.byNode.get(nodeId);
  }

  /** A packet channel has closed. */
  remove(channel: PacketChannel): void {
    this.packetChannels.delete(channel);
    const { nodeId } = channel.peer;
    if (nodeId !== undefined && this.byNode.get(nodeId) === channel) this.byNode.delete(nodeId);
  }

  onBadPeer(address: string, reason: string): void {
    this.deps.onFault(`a connection from ${address} failed: ${reason}`);
  }

  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void {
    const peer = peerOf(headers, session.address);
    if (this.deps.draining()) {
      refuse(stream, new MeshError('UNAVAILABLE', 'this node is shutting down', { delivery: 'refused' }));
      return;
    }
    if (headerOf(headers, HEADER.open) !== undefined) {
      refuse(stream, new MeshError('NOT_FOUND', 'nobody has asked for this stream', { delivery: 'refused' }));
      return;
    }
    const route = headerOf(headers, HEADER.pattern);
    if (route !== undefined) {
      this.acceptCall(stream, headers, peer, decodeName(route));
      return;
    }
    const asked = headers[HEADER.channel];
    if (asked === undefined) this.acceptPackets(stream, headers, peer);
    else this.acceptRaw(stream, headers, peer, String(asked));
  }

  onUnary(path: UnaryPath, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void {
    const origin = this.originOf(headers, peerOf(headers, session.address));
    this.unary.accept(path, { stream, headers, origin });
  }

  private acceptPackets(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, peer: Peer): void {
    const { options, packets } = this.deps;
    if (peer.plain) stream.respond({ ':status': 200 });
    else this.respond(stream);
    const frames = new FrameStream(
      stream,
      options.limits,
      `the channel from ${peer.service} (${peer.address})`,
    );
    const channel = new PacketChannel(frames, {
      peer,
      dialled: false,
      handler: packets,
      limits: options.limits,
      opening: openingOf(headers),
    });
    this.packetChannels.add(channel);
    if (peer.nodeId !== undefined) this.byNode.set(peer.nodeId, channel);
    channel.start();
    this.deps.onChannel(channel);
  }

  private acceptRaw(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    peer: Peer,
    asked: string,
  ): void {
    const { options, onFault } = this.deps;
    const handlers = this.deps.handlers();
    const name = asked === '' || asked === DEFAULT_CHANNEL ? undefined : decodeName(asked);
    if (handlers?.hasChannel(name) !== true) {
      const which =
        name === undefined
          ? 'no default raw channel'
          : `no raw channel named ${JSON.stringify(name.slice(0, 100))}`;
      refuse(
        stream,
        new MeshError('NOT_FOUND', `service '${options.service}' has ${which}`, { delivery: 'refused' }),
      );
      return;
    }
    this.respond(stream);
    const frames = new FrameStream(
      stream,
      options.limits,
      `the raw channel from ${peer.service} (${peer.address})`,
    );
    const channel = startRawChannel(frames, onFault);
    this.rawChannels.add(channel, keyOf(peer));
    handlers.onChannel(channel, { name, peer, ...openingOf(headers), carrier: this.channelWith(peer) });
  }

  private acceptCall(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    peer: Peer,
    route: string,
  ): void {
    const { options } = this.deps;
    const handlers = this.deps.handlers();
    const single = headerOf(headers, HEADER.input) === 'value';
    const origin = this.originOf(headers, peer);
    this.respond(stream, { waitForTrailers: true });
    const frames = new FrameStream(
      stream,
      options.limits,
      `the call of '${route}' from ${peer.service} (${peer.address})`,
    );
    const call = new ServedStream(
      frames,
      { route, single, metadata: readHeaderMetadata(headers), timeoutMs: readHeaderTimeoutMs(headers) },
      (inbound) => {
        if (handlers === undefined) inbound.fail(answersNoCalls(options.service));
        else if (inbound.timeoutMs === 0) inbound.fail(tooLate());
        else handlers.onRequest(inbound, origin);
      },
    );
    this.servedStreams.add(call, keyOf(peer));
    call.start();
  }

  private originOf(headers: IncomingHttpHeaders, peer: Peer): Origin {
    return { peer, opening: openingOf(headers), channel: this.channelWith(peer) };
  }

  /** The packet channel on which the peer can be called back. */
  private channelWith({ nodeId }: Peer): PacketChannel | undefined {
    return nodeId === undefined ? undefined : this.byNode.get(nodeId);
  }

  private respond(stream: ServerHttp2Stream, options?: ServerStreamResponseOptions): void {
    stream.respond({ ':status': 200, ...identityHeaders(this.deps.options) }, options);
  }
}

/** Names in headers are percent-encoded; one that is not well-formed is taken as it stands. */
function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
