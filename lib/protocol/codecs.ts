/** Which codec a channel speaks: the side that opens it offers one, and the other side takes it or stays with JSON. */
import { JSON_CODEC, type Codec } from './codec.js';
import { HEADER, headerOf, type HeaderBlock } from './headers.js';
import { MeshError } from './mesh-error.js';
import { MSGPACK_CODEC } from './msgpack-codec.js';

/** The codecs that can be asked for. */
export type CodecName = 'json' | 'msgpack';

const CODECS: Readonly<Record<CodecName, Codec>> = { json: JSON_CODEC, msgpack: MSGPACK_CODEC };

/** Every name that the option `codec` can have. */
export const CODEC_NAMES = Object.keys(CODECS) as readonly CodecName[];

/** What a request says that offers the codec, and an answer that takes it. JSON goes without saying. */
export function codecHeaders(name: string): Record<string, string> {
  return name === JSON_CODEC.name ? {} : { [HEADER.codec]: name };
}

/** What the opener of a channel gets: the codec that it offers, or JSON where that is not known here, or where none is offered. */
export function offeredCodec(headers: HeaderBlock): Codec {
  return codecNamed(headerOf(headers, HEADER.codec)) ?? JSON_CODEC;
}

/**
 * What the answer to an offer says. Throws a `MeshError` (`FAILED_PRECONDITION`, `refused`) for a codec that was not offered: what
 * the peer would send could not be read.
 */
export function takenCodec(offered: string, headers: HeaderBlock): Codec {
  const taken = headerOf(headers, HEADER.codec) ?? JSON_CODEC.name;
  const codec = taken === offered || taken === JSON_CODEC.name ? codecNamed(taken) : undefined;
  if (codec !== undefined) return codec;
  throw new MeshError(
    'FAILED_PRECONDITION',
    `the peer answers in the codec ${JSON.stringify(taken.slice(0, 100))}, and was offered '${offered}' (option codec)`,
    { delivery: 'refused' },
  );
}

function codecNamed(name: string | undefined): Codec | undefined {
  return name !== undefined && Object.hasOwn(CODECS, name) ? CODECS[name as CodecName] : undefined;
}
