/** Frames: many small ones of one turn, and one that is large. */
import { DEFAULT_WIRE_LIMITS, FrameDecoder, JSON_CODEC, writeFrames } from './internals.js';
import { messageOf } from '../peers/peer.js';
import { expectSame, type Piece } from './piece.js';

/** Writing and reading, for each size. */
export const framePieces: readonly Piece[] = [pair(100, '100 B', 64), pair(10_000, '10 KB', 16)].flat();

function pair(bytes: number, size: string, times: number): Piece[] {
  const text = JSON_CODEC.encode(messageOf(bytes));
  const payloads = Array.from({ length: times }, () => text);
  const wire: Buffer[] = [];
  writeFrames(payloads, (part, done) => {
    wire.push(Buffer.from(part));
    done?.();
  });
  const chunk = Buffer.concat(wire);
  let written = 0;
  const count = (part: Uint8Array, done?: () => void): void => {
    written += part.length;
    // The slab is free again, as when its bytes have left.
    done?.();
  };
  let frames = 0;
  let read = 0;
  const decoder = new FrameDecoder(DEFAULT_WIRE_LIMITS.maxFrameBytes, {
    keepsNothing: true,
    onFrame: (payload) => {
      frames += 1;
      read += payload.length;
    },
    onOversize: () => {
      throw new Error('no frame here is too long');
    },
  });
  const writing = `write a frame of ${size}, ${times} in one flush`;
  const reading = `read a frame of ${size}, ${times} in one chunk`;
  const write = (): number => {
    writeFrames(payloads, count);
    return written;
  };
  const decode = (): number => {
    decoder.push(chunk);
    return read;
  };
  return [
    {
      group: 'frames',
      title: writing,
      times,
      run: write,
      check: () => expectSame(writing, -written + write(), times * (bytes + 4)),
    },
    {
      group: 'frames',
      title: reading,
      times,
      run: decode,
      check: () => expectSame(reading, [-read + decode(), frames], [times * bytes, times]),
    },
  ];
}
