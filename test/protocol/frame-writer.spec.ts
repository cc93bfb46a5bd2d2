/** Frames that are written in bulk: the same bytes as one by one, in memory that is used again only when it may be. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { encodeFrame, type FramePayload } from '../../lib/protocol/frame.js';
import { writeFrames } from '../../lib/protocol/frame-writer.js';
import { SLAB_BYTES, takeSlab } from '../../lib/protocol/slabs.js';

type Done = ((error?: Error | null) => void) | undefined;

function written(payloads: readonly FramePayload[]): { bytes: Uint8Array; done: Done }[] {
  const writes: { bytes: Uint8Array; done: Done }[] = [];
  writeFrames(payloads, (bytes, done) => writes.push({ bytes, done }));
  return writes;
}

const text = fc
  .tuple(fc.constantFrom('x', 'é', '€', '🚀', '\ud800'), fc.nat({ max: SLAB_BYTES }))
  .map(([unit, units]) => unit.repeat(units / unit.length));
const bytes = fc.nat({ max: 2 * SLAB_BYTES }).map((length) => new Uint8Array(length).fill(length));

describe('Frames written in bulk', () => {
  it('are the frames one behind the other, of whatever sizes and characters', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), text, bytes), { maxLength: 12 }), (payloads) => {
        const all = Buffer.concat(written(payloads).map((write) => write.bytes));
        expect(all.equals(Buffer.concat(payloads.map(encodeFrame)))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('do not touch what was written before as long as it has not left', () => {
    const kept = Array.from({ length: 40 }, (_, i) => ({
      expected: encodeFrame(`${i}`.repeat(20_000)),
      writes: written([`${i}`.repeat(20_000)]),
    }));
    for (const { expected, writes } of kept) {
      expect(Buffer.concat(writes.map((write) => write.bytes)).equals(expected)).toBe(true);
      for (const { done } of writes) done?.();
    }
  });

  it('of large bytes are written without a copy', () => {
    const large = new Uint8Array(SLAB_BYTES);
    expect(written(['a', large, 'b']).some((write) => write.bytes === large)).toBe(true);
  });
});

describe('A slab', () => {
  it('is used again once its bytes have left', () => {
    const slab = takeSlab();
    slab.free();
    expect(takeSlab()).toBe(slab);
  });

  it('is not used again when it is not known what still reads it', () => {
    const slab = takeSlab();
    slab.free(new Error('the stream was reset'));
    expect(takeSlab()).not.toBe(slab);
  });
});
