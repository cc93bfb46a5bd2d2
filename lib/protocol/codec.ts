/** Values to payloads and back. JSON is the codec every peer speaks. */
import { isUtf8 } from 'node:buffer';
import type { FramePayload } from './frame.js';
import { MeshError } from './mesh-error.js';

/** Turns a value into the payload of one frame and back. */
export interface Codec {
  readonly name: string;
  /** Throws a `MeshError` (`INVALID_ARGUMENT`, `not-sent`) for what cannot be written: a BigInt, a cycle, `undefined`. */
  encode(value: unknown): FramePayload;
  /** Throws a `MeshError` (`INVALID_ARGUMENT`) for a payload that is not UTF-8 or not JSON. */
  decode(payload: Buffer): unknown;
}

const REPLACEMENT = '\ufffd';

/** UTF-8 JSON (RFC 8259). Keys named `__proto__` stay plain own keys, as `JSON.parse` makes them. */
export const JSON_CODEC: Codec = {
  name: 'json',
  encode(value) {
    let text: string | undefined;
    try {
      text = JSON.stringify(value) as string | undefined;
    } catch (cause) {
      throw notSerializable(cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (text === undefined) throw notSerializable(`${typeof value} is not a JSON value`);
    return text;
  },
  decode(payload) {
    const text = payload.toString('utf8');
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
