/** A stream on which a peer is the caller: opened by the peer, or by this node because the peer has wished for it. */
import type { Http2Stream, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Codec } from '../protocol/codec.js';
import { codecHeaders } from '../protocol/codecs.js';
import type { HeaderBlock } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import { refuse } from '../transport/listener.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Peer } from '../transport/peer.js';
import type { StreamWish } from '../transport/peer-streams.js';
import { codecOfCaller } from './channel-codec.js';
import { identityHeaders } from './opening.js';
import type { ResolvedOptions } from './mesh-options.js';

/** One of the two is called, once. */
export interface IncomingStream {
  readonly headers: HeaderBlock;
  readonly peer: Peer;
  /** What its frames are in, in both directions. */
  readonly codec: Codec;
  /** Takes it; `use` has the stream as soon as it is there, and never when the peer has gone. */
  accept(use: (stream: Http2Stream) => void): void;
  refuse(error: MeshError): void;
}

/** Opened by a peer that has dialled this node. */
export class ListenedStream implements IncomingStream {
  readonly codec: Codec;

  constructor(
    private readonly stream: ServerHttp2Stream,
    readonly headers: IncomingHttpHeaders,
    readonly peer: Peer,
    private readonly options: ResolvedOptions,
  ) {
    this.codec = codecOfCaller(peer, headers);
  }

  accept(use: (stream: Http2Stream) => void): void {
    const headers = { ...identityHeaders(this.options), ...codecHeaders(this.codec.name) };
    this.stream.respond({ ':status': 200, ...headers }, { waitForTrailers: true });
    use(this.stream);
  }

  refuse(error: MeshError): void {
    refuse(this.stream, error);
  }
}

/** Wished for by a peer that this node has dialled; nothing is opened before it is known what becomes of it. */
export class WishedStream implements IncomingStream {
  readonly headers: HeaderBlock;
  readonly peer: Peer;
  readonly codec: Codec;

  constructor(
    private readonly wish: StreamWish,
    private readonly channel: PacketChannel,
    private readonly onFault: (message: string) => void,
  ) {
    this.headers = wish.headers;
    this.peer = channel.peer;
    this.codec = codecOfCaller(channel.peer, wish.headers);
  }

  accept(use: (stream: Http2Stream) => void): void {
    this.channel
      .fulfil(this.wish.token, codecHeaders(this.codec.name))
      .then(({ stream }) => use(stream), this.onLost);
  }

  refuse(error: MeshError): void {
    this.channel.refuseWish(this.wish.token, error).catch(this.onLost);
  }

  private readonly onLost = (error: unknown): void => {
    const reason = MeshError.from(error).rawMessage;
    this.onFault(
      `a stream that ${this.peer.service} (${this.peer.address}) has asked for was not opened: ${reason}`,
    );
  };
}
