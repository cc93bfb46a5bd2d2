/** Values to payloads and back. JSON is the codec every peer speaks. */
import { isAscii, isUtf8 } from 'node:buffer';
import type { FramePayload } from './frame.js';
import { isEventHead, peekPacket } from './json-head.js';
import { jsonText } from './json-text.js';
import { MeshError } from './mesh-error.js';
import type { PeekedPacket } from './packet.js';

/** Turns a value into the payload of one frame and back. */
export interface Codec {
  readonly name: string;
  /** True when what {@link decode} gives may hold memory of the payload. */
  readonly keepsPayload: boolean;
  /** Throws a `MeshError` (`INVALID_ARGUMENT`, `not-sent`) for what cannot be written: a cycle, `undefined`, in JSON a BigInt. */
  encode(value: unknown): FramePayload;
  /** Throws a `MeshError` (`INVALID_ARGUMENT`) for a payload that is not of this codec. */
  decode(payload: Buffer): unknown;
  /** Reads a payload from its text; `undefined` when {@link decode} must look at its bytes. Left out: payloads are no text. */
  readonly decodeText?: ((text: string) => unknown) | undefined;
  /** What the first bytes of a packet tell; `undefined` when they leave a doubt. Never throws. */
  peekPacket(head: Buffer): PeekedPacket | undefined;
  /** True for the first bytes of an event without an id, as peers that write the id of everything else first send it. */
  isEventHead(head: Buffer): boolean;
}

const REPLACEMENT = '\ufffd';
const ASCII_BYTES = 4 * 1024;

/** UTF-8 JSON (RFC 8259). Keys named `__proto__` stay plain own keys, as `JSON.parse` makes them. */
export const JSON_CODEC: Codec = {
  name: 'json',
  keepsPayload: false,
  encode(value) {
    let text: string | undefined;
    try {
      text = jsonText(value);
    } catch (cause) {
      throw notSerializable(cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (text === undefined) throw notSerializable(`${typeof value} is not a JSON value`);
    return text;
  },
  decode(payload) {
    // Of many bytes, those that are all ASCII are read faster as such; of few, to ask costs more.
    const isPlain = payload.length >= ASCII_BYTES && isAscii(payload);
    const text = payload.toString(isPlain ? 'latin1' : 'utf8');
    // toString() writes U+FFFD for bytes that are not UTF-8; looking for it costs next to nothing, isUtf8() does not.
    if (text.includes(REPLACEMENT) && !isUtf8(payload)) {
      throw new MeshError('INVALID_ARGUMENT', `a payload of ${payload.length} bytes is not UTF-8`);
    }
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      const what =
        payload.length === 0
          ? 'an empty payload is not JSON'
          : `a payload of ${payload.length} bytes is not JSON`;
      throw new MeshError('INVALID_ARGUMENT', what, { cause });
    }
  },
  decodeText(text) {
    if (text.includes(REPLACEMENT)) return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return undefined;
    }
  },
  peekPacket,
  isEventHead,
};

function notSerializable(reason: string, cause?: unknown): MeshError {
  return new MeshError('INVALID_ARGUMENT', `the value cannot be serialized as JSON: ${firstLineOf(reason)}`, {
    delivery: 'not-sent',
    cause,
  });
}

function firstLineOf(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
