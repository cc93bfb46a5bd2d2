/** MessagePack, for channels whose both sides speak it: smaller than JSON, and bytes and 64-bit integers travel as they are. */
import { createRequire } from 'node:module';
import type { Codec } from './codec.js';
import { MeshError } from './mesh-error.js';
import { MsgpackReader } from './msgpack-reader.js';
import { isPacketId, type PeekedPacket } from './packet.js';
import { plainOf } from './plain-value.js';

/** What is used of msgpackr's `Packr`. */
interface Packr {
  pack(value: unknown, mode: number): Buffer & { readonly start: number; readonly end: number };
  useBuffer(buffer: Buffer): void;
}

/** `REUSE_BUFFER_MODE | RESET_BUFFER_MODE`: every value is packed at the same place, and copied from there once. */
const SCRATCH = 512 | 1_024;
const SCRATCH_BYTES = 8 * 1_024;
/** A scratch that has grown beyond it for a large value is let go. */
const MAX_SCRATCH_BYTES = 256 * 1_024;

/**
 * MessagePack by msgpackr, with plain maps: no records, no shared structures, no state between values. Payloads are read by
 * {@link MsgpackReader}. Values arrive as they would by JSON, except that `Uint8Array`, `Buffer` and `ArrayBuffer` arrive as
 * `Buffer`, and a `BigInt` of 64 bits as a `BigInt`, or as a number where that is exact. Timestamps of other programs arrive as
 * `Date`; a `Date` leaves as its text.
 */
export const MSGPACK_CODEC: Codec = {
  name: 'msgpack',
  keepsPayload: true,
  encode(value) {
    let plain: unknown;
    try {
      plain = plainOf(value);
      if (plain !== undefined) return packed(plain);
    } catch (cause) {
      throw notSerializable(cause instanceof Error ? cause.message : String(cause), cause);
    }
    throw notSerializable(`${typeof value} is not a value of it`);
  },
  decode: (payload) => new MsgpackReader(payload).only(),
  peekPacket(head) {
    try {
      return peek(new MsgpackReader(head));
    } catch {
      // Cut off in what tells.
      return undefined;
    }
  },
  isEventHead(head) {
    try {
      const reader = new MsgpackReader(head);
      return reader.beginMap() && reader.key() === 'pattern';
    } catch {
      return false;
    }
  },
};

function peek(reader: MsgpackReader): PeekedPacket | undefined {
  if (!reader.beginMap() || reader.key() !== 'id') return undefined;
  const id = reader.value();
  if (!isPacketId(id)) return undefined;
  const next = reader.key();
  if (next === 'pattern' || (next === 'event' && reader.value() === true)) return { id, isRequest: true };
  return next === 'response' || next === 'err' || next === 'isDisposed'
    ? { id, isRequest: false }
    : undefined;
}

let packr: Packr | undefined;

function packed(plain: unknown): Buffer {
  packr ??= loadPackr();
  const scratch = packr.pack(plain, SCRATCH);
  const { start, end } = scratch;
  const payload = Buffer.allocUnsafe(end - start);
  scratch.copy(payload, 0, start, end);
  if (scratch.length > MAX_SCRATCH_BYTES) packr.useBuffer(Buffer.allocUnsafeSlow(SCRATCH_BYTES));
  return payload;
}

/**
 * Loaded with the first value that is sent, and at once. This build of msgpackr makes no code at run time, has no native part, and
 * is nobody else's instance: its extensions and buffers are global to it.
 */
function loadPackr(): Packr {
  const require = createRequire(import.meta.url);
  const { Packr: PackrClass } = require('msgpackr/index-no-eval') as {
    Packr: new (options: object) => Packr;
  };
  return new PackrClass({ useRecords: false, variableMapSize: true });
}

function notSerializable(reason: string, cause?: unknown): MeshError {
  return new MeshError('INVALID_ARGUMENT', `the value cannot be serialized as MessagePack: ${reason}`, {
    delivery: 'not-sent',
    cause,
  });
}
