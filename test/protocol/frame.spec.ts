/** Encoding of frames. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  encodeFrame,
  encodeFrames,
  exceeds,
  FRAME_HEADER_BYTES,
  payloadBytes,
} from '../../lib/protocol/frame.js';
import type { FramePayload } from '../../lib/protocol/frame.js';

const SLAB_BYTES = 256 * 1024;

const payload: fc.Arbitrary<FramePayload> = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 300 }),
);

/** The definition, written without any of the encoder's shortcuts. */
function plainFrame(one: FramePayload): Buffer {
  const body = Buffer.from(one as string);
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

describe('encodeFrames', () => {
  it('writes the frames one behind the other, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 40 }), (payloads) => {
        expect(encodeFrames(payloads).equals(Buffer.concat(payloads.map(plainFrame)))).toBe(true);
        expect(encodeFrames(payloads).equals(Buffer.concat(payloads.map(encodeFrame)))).toBe(true);
      }),
    );
  });

  it('never touches again what it has handed out, however much is encoded later', () => {
    const kept: { encoded: Buffer; expected: Buffer }[] = [];
    // Sizes on both sides of a shared slab, and enough of them to fill several.
    const texts = [
      '',
      'é'.repeat(40_000),
      'x'.repeat(SLAB_BYTES),
      '🚀'.repeat(20_000),
      'a',
      'x'.repeat(70_000),
    ];
    for (let round = 0; round < 8; round += 1) {
      for (const text of texts) {
        const own = `${round}${text}`;
        kept.push({ encoded: encodeFrame(own), expected: plainFrame(own) });
      }
    }
    for (const { encoded, expected } of kept) expect(encoded.equals(expected)).toBe(true);
  });

  it.each([
    ['ASCII', 'x', SLAB_BYTES / 3],
    ['three-byte characters', '€', SLAB_BYTES / 3],
    ['ASCII', 'x', SLAB_BYTES],
    ['three-byte characters', '€', SLAB_BYTES],
  ])('is exact around the size of a slab (%s)', (_, unit, around) => {
    for (let length = Math.floor(around) - 8; length <= around + 8; length += 1) {
      const text = unit.repeat(length);
      expect(encodeFrames(['a', text, 'b']).equals(Buffer.concat(['a', text, 'b'].map(plainFrame)))).toBe(
        true,
      );
    }
  });

  it('is exact when small frames fill a slab to its last bytes', () => {
    for (let at = 0; at < SLAB_BYTES / 5 + 1; at += 1) {
      const byte = at & 0xff;
      if (encodeFrame(Uint8Array.of(byte)).readUIntBE(0, 5) !== 0x1_00 + byte) throw new Error(`frame ${at}`);
    }
    expect(encodeFrame('next').toString('latin1')).toBe('\0\0\0\u0004next');
  });

  it('gives an empty buffer for no payloads', () => {
    expect(encodeFrames([])).toHaveLength(0);
  });

  it('writes the length as four big-endian bytes, also above 64 KiB and 16 MiB', () => {
    expect([...encodeFrame(new Uint8Array(0x01_02_03)).subarray(0, 4)]).toEqual([0, 1, 2, 3]);
    expect([...encodeFrame(new Uint8Array(0x01_02_03_04)).subarray(0, 4)]).toEqual([1, 2, 3, 4]);
  });
});

describe('Sizes of payloads', () => {
  it('payloadBytes counts what the frame will hold', () => {
    fc.assert(
      fc.property(payload, (one) => {
        expect(payloadBytes(one)).toBe(encodeFrame(one).length - FRAME_HEADER_BYTES);
      }),
    );
  });

  it('exceeds agrees with payloadBytes at every limit around the size', () => {
    fc.assert(
      fc.property(payload, fc.integer({ min: -3, max: 3 }), (one, off) => {
        const limit = payloadBytes(one) + off;
        expect(exceeds(one, limit)).toBe(payloadBytes(one) > limit);
      }),
    );
  });
});
