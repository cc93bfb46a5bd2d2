/** Frames: `[4-byte big-endian unsigned length][payload]`, the length counting payload bytes only. */

/** Size of the length prefix, in bytes. */
export const FRAME_HEADER_BYTES = 4;
/** Largest payload that the prefix can declare. */
export const MAX_DECLARABLE_BYTES = 0xffff_ffff;

/** A payload ready for its frame: text that is still to become UTF-8, or bytes. */
export type FramePayload = string | Uint8Array;

const SLAB_BYTES = 256 * 1024;
const MAX_UTF8_BYTES_PER_UNIT = 3;

// Frames of one flush are written side by side into a slab, and the slab is handed out in slices: one allocation
// for many flushes, no copy. A slab is garbage once the last slice of it has left the process.
let slab = Buffer.allocUnsafeSlow(0);
let slabUsed = 0;

/** The frames of `payloads`, in order, in one contiguous buffer: what leaves in one write. */
export function encodeFrames(payloads: readonly FramePayload[]): Buffer {
  let most = 0;
  for (const payload of payloads) most += FRAME_HEADER_BYTES + mostBytesOf(payload);
  const pooled = most <= SLAB_BYTES;
  if (pooled && slab.length - slabUsed < most) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  const target = pooled ? slab : Buffer.allocUnsafeSlow(exactBytesOf(payloads));
  const start = pooled ? slabUsed : 0;
  let end = start;
  for (const payload of payloads) end = writeFrame(target, end, payload);
  if (pooled) slabUsed = end;
  return target.subarray(start, end);
}

/** One frame. */
export function encodeFrame(payload: FramePayload): Buffer {
  return encodeFrames([payload]);
}

/** The exact number of payload bytes. */
export function payloadBytes(payload: FramePayload): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
}

/** True when the payload is larger than `maxBytes`; counts UTF-8 only when the length in characters leaves a doubt. */
export function exceeds(payload: FramePayload, maxBytes: number): boolean {
  // A character is at least one byte.
  if (payload.length > maxBytes) return true;
  return mostBytesOf(payload) > maxBytes && payloadBytes(payload) > maxBytes;
}

function mostBytesOf(payload: FramePayload): number {
  return typeof payload === 'string' ? payload.length * MAX_UTF8_BYTES_PER_UNIT : payload.length;
}

function exactBytesOf(payloads: readonly FramePayload[]): number {
  let total = 0;
  for (const payload of payloads) total += FRAME_HEADER_BYTES + payloadBytes(payload);
  return total;
}

/** Writes the frame of a payload where there is room for it; returns where it ends. */
export function writeFrame(target: Buffer, at: number, payload: FramePayload): number {
  const body = at + FRAME_HEADER_BYTES;
  let length: number;
  if (typeof payload === 'string') {
    length = target.write(payload, body);
  } else {
    length = payload.length;
    target.set(payload, body);
  }
  target[at] = length >>> 24;
  target[at + 1] = length >>> 16;
  target[at + 2] = length >>> 8;
  target[at + 3] = length;
  return body + length;
}
