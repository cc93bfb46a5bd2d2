/** Frames that are read as text, many of a chunk at once. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { JSON_CODEC } from '../../lib/protocol/codec.js';
import { encodeFrames } from '../../lib/protocol/frame.js';
import { FrameDecoder } from '../../lib/protocol/frame-decoder.js';
import { cutAt } from './support.js';

interface Read {
  /** As the text of the payload, or as what is no JSON in UTF-8. */
  readonly values: unknown[];
  readonly bytes: number[];
}

function readAll(chunks: readonly Buffer[]): Read {
  const values: unknown[] = [];
  const bytes: number[] = [];
  const decoder = new FrameDecoder(100_000, {
    readText: JSON_CODEC.decodeText,
    onValue: (value, count) => {
      values.push(value);
      bytes.push(count);
    },
    onFrame: (payload) => {
      let value: unknown = 'unreadable';
      try {
        value = JSON_CODEC.decode(payload);
      } catch {
        // That is what is to be seen.
      }
      values.push(value);
      bytes.push(payload.length);
    },
    onOversize: () => undefined,
  });
  for (const chunk of chunks) decoder.push(chunk);
  return { values, bytes };
}

const payload = fc.oneof(
  fc.json().map((text) => Buffer.from(text)),
  fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(JSON.stringify({ text }))),
  fc
    .constantFrom('', '{', '1],[2', '1,2', '"\ufffd"', '"\u00e9"', 'null', `"${'x'.repeat(5_000)}"`)
    .map((text) => Buffer.from(text)),
  fc.constant(Buffer.from([0x22, 0xff, 0x22])),
);

describe('a chunk of many frames', () => {
  it('gives what each of its payloads gives by itself, in their order, wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(payload, { maxLength: 12 }),
        fc.array(fc.nat(2_000), { maxLength: 4 }),
        (all, cuts) => {
          const alone = all.map((one) => readAll([encodeFrames([one])]));
          const whole = encodeFrames(all);
          const places = [...new Set(cuts.filter((cut) => cut > 0 && cut < whole.length))].sort(
            (a, b) => a - b,
          );
          const together = readAll(cutAt(whole, places));
          expect(together.values).toEqual(alone.flatMap(({ values }) => values));
          expect(together.bytes).toEqual(all.map(({ length }) => length));
        },
      ),
    );
  });

  it('does not take the text of one payload for a part of another', () => {
    const { values } = readAll([encodeFrames(['1,2', '[3', '4]', '5'])]);
    expect(values).toEqual(['unreadable', 'unreadable', 'unreadable', 5]);
  });
});
