/** The codec of a channel, as the headers of its two sides settle it. */
import { constants } from 'node:http2';
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { offeredCodec, takenCodec, type CodecName } from '../protocol/codecs.js';
import type { HeaderBlock } from '../protocol/headers.js';
import type { Peer } from '../transport/peer.js';
import { resetStream } from '../transport/reset.js';
import type { AcceptedStream } from '../transport/stream-opening.js';

/** What this side takes of what a caller offers. A peer that knows part 1 only speaks JSON, whatever its headers say. */
export function codecOfCaller(peer: Peer, headers: HeaderBlock): Codec {
  return peer.plain ? JSON_CODEC : offeredCodec(headers);
}

/** What the peer has taken of what this side offers. Throws a `MeshError`, and resets the stream, when it is something else. */
export function codecOfAnswer(offered: CodecName, { stream, headers }: AcceptedStream): Codec {
  try {
    return takenCodec(offered, headers);
  } catch (error) {
    stream.on('error', ignore);
    resetStream(stream, constants.NGHTTP2_PROTOCOL_ERROR);
    throw error;
  }
}

function ignore(): void {
  // What is thrown tells more.
}
