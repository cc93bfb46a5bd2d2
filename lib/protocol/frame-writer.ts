/** Frames in bulk: written into slabs one after the other, and what is large bytes already not copied at all. */
import { encodeFrame, FRAME_HEADER_BYTES, payloadBytes, writeFrame, type FramePayload } from './frame.js';
import { SLAB_BYTES, takeSlab, type Slab } from './slabs.js';

const LARGE_BYTES = 64 * 1024;
const MAX_UTF8_BYTES_PER_UNIT = 3;

/** Takes what is written, in order; `done` is called once those bytes have left, or never will. */
export type WriteBytes = (bytes: Uint8Array, done?: (error?: Error | null) => void) => void;

/** Writes the frames of `payloads`, in order. */
export function writeFrames(payloads: readonly FramePayload[], write: WriteBytes): void {
  let slab: Slab | undefined;
  let used = 0;
  const flush = (): void => {
    if (slab !== undefined) write(slab.bytes.subarray(0, used), slab.free);
    slab = undefined;
    used = 0;
  };
  for (const payload of payloads) {
    if (typeof payload !== 'string' && payload.length >= LARGE_BYTES) {
      flush();
      const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
      header.writeUInt32BE(payload.length);
      write(header);
      write(payload);
      continue;
    }
    if (!fits(payload, SLAB_BYTES - used)) {
      flush();
      if (!fits(payload, SLAB_BYTES)) {
        write(encodeFrame(payload));
        continue;
      }
    }
    slab ??= takeSlab();
    used = writeFrame(slab.bytes, used, payload);
  }
  flush();
}

function fits(payload: FramePayload, room: number): boolean {
  const most = FRAME_HEADER_BYTES + payload.length * MAX_UTF8_BYTES_PER_UNIT;
  return most <= room || FRAME_HEADER_BYTES + payloadBytes(payload) <= room;
}
