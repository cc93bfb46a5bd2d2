/** The channels that peers open to this node, or that it opens because they wish for them. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { acceptsHeaders } from '../protocol/accepts.js';
import { codecHeaders } from '../protocol/codecs.js';
import { HEADER, headerOf } from '../protocol/headers.js';
import { FrameStream } from '../transport/frame-stream.js';
import { refuse, type ChannelAcceptor } from '../transport/listener.js';
import { PacketChannel, type Origin, type PacketHandler } from '../transport/packet-channel.js';
import { peerOf, type Peer } from '../transport/peer.js';
import { REQUEST, type StreamWish } from '../transport/peer-streams.js';
import type { RawChannel } from '../transport/raw-channel.js';
import type { Session } from '../transport/session.js';
import { MAX_TOKEN_LENGTH } from '../transport/stream-tokens.js';
import type { UnaryPath } from '../transport/unary-path.js';
import { codecOfCaller } from './channel-codec.js';
import type { InboundNodes } from './directory.js';
import type { ServedCall } from './drain.js';
import { ListenedStream, WishedStream } from './incoming-stream.js';
import { identityHeaders, openingOf } from './opening.js';
import type { OpenStreams } from './open-streams.js';
import { keyOf, type StreamCounts } from './peer-status.js';
import { refused, shuttingDown } from './refusals.js';
import { isStreamOfItsOwn, ServedStreams } from './served-streams.js';
import { UnaryRequests, type UnaryDeps } from './unary-requests.js';

/** What the acceptor needs of its node. */
export interface InboundDeps extends UnaryDeps {
  readonly packets: PacketHandler;
  readonly onFault: (message: string) => void;
  /** A node has opened a packet channel to us. */
  readonly onChannel: (channel: PacketChannel) => void;
}

export class InboundChannels implements ChannelAcceptor, InboundNodes, StreamCounts {
  private readonly packetChannels = new Set<PacketChannel>();
  private readonly byNode = new Map<string, PacketChannel>();
  /** The newest in each session. */
  private readonly bySession = new Map<Session, PacketChannel>();
  private readonly served: ServedStreams;
  private readonly portless = new Set<PacketChannel>();
  private readonly unary: UnaryRequests;

  constructor(private readonly deps: InboundDeps) {
    this.served = new ServedStreams(deps);
    this.unary = new UnaryRequests(deps, (call, { peer }) => this.served.calls.add(call, keyOf(peer)));
  }

  /** The packet channels that peers hold open. */
  get channels(): ReadonlySet<PacketChannel> {
    return this.packetChannels;
  }

  /** The raw channels on which peers are the callers. */
  get raw(): OpenStreams<RawChannel> {
    return this.served.raw;
  }

  /** The calls on streams of their own that are being answered. */
  get streams(): OpenStreams<ServedCall> {
    return this.served.calls;
  }

  callsOf(peer: string): number {
    return this.served.calls.countOf(peer);
  }

  channelsOf(peer: string): number {
    return this.served.raw.countOf(peer);
  }

  /** The packet channel that the node has opened to us. */
  ofNode(nodeId: string): PacketChannel | undefined {
    return this.byNode.get(nodeId);
  }

  portlessOf(service: string): readonly PacketChannel[] {
    return [...this.portless].filter(({ peer }) => peer.service === service);
  }

  /** A packet channel has closed. */
  remove(channel: PacketChannel): void {
    this.packetChannels.delete(channel);
    this.portless.delete(channel);
    const { nodeId } = channel.peer;
    if (nodeId !== undefined && this.byNode.get(nodeId) === channel) this.byNode.delete(nodeId);
  }

  onBadPeer(address: string, reason: string): void {
    this.deps.onFault(`a connection from ${address} failed: ${reason}`);
  }

  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void {
    const token = headerOf(headers, HEADER.open);
    // Also while draining: calls that are under way may still need them.
    if (token !== undefined) {
      const taker = session.tokens.claim(token);
      if (taker !== undefined) taker.take(stream, headers);
      else refuse(stream, refused('NOT_FOUND', 'nobody has asked for this stream'));
      return;
    }
    const packet = headerOf(headers, HEADER.packet);
    if (packet !== undefined) {
      this.takePacket(packet, stream, headers, session);
      return;
    }
    const peer = peerOf(headers, session.address);
    if (this.deps.draining()) {
      refuse(stream, shuttingDown());
      return;
    }
    if (isStreamOfItsOwn(headers))
      this.served.serve(new ListenedStream(stream, headers, peer, this.deps.options));
    else this.acceptPackets(stream, headers, peer, session);
  }

  /** A peer that this node has dialled wishes for a stream on which it is the caller. */
  onWish(wish: StreamWish, channel: PacketChannel): void {
    const stream = new WishedStream(wish, channel, this.deps.onFault);
    if (this.deps.draining()) stream.refuse(shuttingDown());
    else if (channel.wishedStreams >= this.deps.options.limits.maxChannels) {
      const most = `limits.maxChannels (${this.deps.options.limits.maxChannels})`;
      stream.refuse(refused('RESOURCE_EXHAUSTED', `more than ${most} streams are open for this peer`));
    } else if (!isStreamOfItsOwn(wish.headers))
      stream.refuse(refused('UNIMPLEMENTED', 'what the stream is wished for is not known here'));
    else this.served.serve(stream);
  }

  onUnary(path: UnaryPath, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void {
    const origin = this.originOf(headers, peerOf(headers, session.address));
    this.unary.accept(path, { stream, headers, origin });
  }

  /** A large packet of the packet channel in this session. */
  private takePacket(
    token: string,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    session: Session,
  ): void {
    const channel = this.bySession.get(session);
    if (channel === undefined)
      refuse(stream, refused('FAILED_PRECONDITION', 'this session has no packet channel'));
    else if (token === REQUEST) channel.takeRequest(stream);
    else if (
      token.length > MAX_TOKEN_LENGTH ||
      !session.arrivals.arrive(token, stream, headers, this.deps.options.connectTimeoutMs)
    )
      refuse(stream, refused('ALREADY_EXISTS', 'the token of this stream cannot be used'));
  }

  private acceptPackets(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    peer: Peer,
    session: Session,
  ): void {
    const { options, packets } = this.deps;
    const codec = codecOfCaller(peer, headers);
    const identity = identityHeaders(options);
    const answer = peer.plain ? {} : { ...identity, ...codecHeaders(codec.name), ...acceptsHeaders() };
    stream.respond({ ':status': 200, ...answer });
    const frames = new FrameStream(
      stream,
      options.limits,
      `the channel from ${peer.service} (${peer.address})`,
    );
    const channel = new PacketChannel(frames, {
      ...options,
      peer,
      session,
      dialled: false,
      identity,
      handler: packets,
      opening: openingOf(headers),
      codec,
    });
    this.packetChannels.add(channel);
    this.bySession.set(session, channel);
    void channel.whenClosed.then(() => {
      if (this.bySession.get(session) === channel) this.bySession.delete(session);
    });
    if (peer.nodeId !== undefined) this.byNode.set(peer.nodeId, channel);
    if (!peer.listens && !peer.plain) this.portless.add(channel);
    channel.start();
    this.deps.onChannel(channel);
  }

  private originOf(headers: IncomingHttpHeaders, peer: Peer): Origin {
    return { peer, opening: openingOf(headers), channel: this.channelWith(peer) };
  }

  /** The packet channel on which the peer can be called back. */
  private channelWith({ nodeId }: Peer): PacketChannel | undefined {
    return nodeId === undefined ? undefined : this.byNode.get(nodeId);
  }
}
