/** Opens the packet channel with a node that this one has dialled. */
import { acceptsHeaders } from '../protocol/accepts.js';
import { codecHeaders } from '../protocol/codecs.js';
import { HEADER } from '../protocol/headers.js';
import { FrameStream } from '../transport/frame-stream.js';
import { PacketChannel, type PacketHandler } from '../transport/packet-channel.js';
import { peerOf } from '../transport/peer.js';
import type { Session } from '../transport/session.js';
import { codecOfAnswer } from './channel-codec.js';
import type { ResolvedOptions } from './mesh-options.js';
import { identityHeaders, openingHeaders, openingOf } from './opening.js';

/** What the channel is opened with. */
export interface DialledChannelRequest {
  readonly options: ResolvedOptions;
  readonly packets: PacketHandler;
  /** The service that is dialled. */
  readonly service: string;
  /** True when this node has no port, and is to be called over the channel. */
  readonly serves: boolean;
}

/** The channel, which does not read yet. Rejects with a `MeshError` (`not-sent` or `refused`). */
export async function openDialledChannel(
  session: Session,
  { options, packets, service, serves }: DialledChannelRequest,
): Promise<PacketChannel> {
  const request = { ...openingHeaders(options), ...codecHeaders(options.codec), ...acceptsHeaders() };
  if (serves) request[HEADER.listen] = 'false';
  const accepted = await session.open(request, options.connectTimeoutMs);
  const { stream, headers } = accepted;
  const frames = new FrameStream(stream, options.limits, `the channel to ${service} (${session.address})`);
  return new PacketChannel(frames, {
    ...options,
    peer: peerOf(headers, session.address, service),
    session,
    dialled: true,
    identity: identityHeaders(options),
    handler: packets,
    opening: openingOf(headers),
    codec: codecOfAnswer(options.codec, accepted),
  });
}
