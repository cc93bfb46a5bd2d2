/** Decoding of frames, whatever the chunks. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { encodeFrame, encodeFrames } from '../../lib/protocol/frame.js';
import { FrameDecoder, HEAD_BYTES } from '../../lib/protocol/frame-decoder.js';
import { UNTRUSTED_LENGTH_FACTOR } from '../../lib/protocol/limits.js';
import { cutAt, meshErrorOf, recordingDecoder } from './support.js';
import type { Decoded } from './support.js';

const LIMIT = 600;

/** Lengths on both sides of everything that matters: nothing, the kept head, the limit, the last trusted length. */
const length = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.integer({ min: HEAD_BYTES - 2, max: HEAD_BYTES + 2 }),
  fc.integer({ min: LIMIT - 2, max: LIMIT + 300 }),
  fc.constant(LIMIT * UNTRUSTED_LENGTH_FACTOR),
);
const payloads = fc.array(
  fc
    .tuple(length, fc.nat(255))
    .map(([bytes, seed]) => Buffer.from(Array.from({ length: bytes }, (_, at) => seed + at))),
  { maxLength: 8 },
);

/** What must come out, by definition. */
function expected(all: readonly Buffer[]): Decoded[] {
  return all.map((payload) =>
    payload.length <= LIMIT
      ? payload
      : { declaredBytes: payload.length, head: payload.subarray(0, HEAD_BYTES) },
  );
}

/** Hex, so that a difference is shown and a Buffer over a larger slab compares equal. */
function shown(all: readonly Decoded[]): unknown[] {
  return all.map((one) =>
    Buffer.isBuffer(one) ? one.toString('hex') : [one.declaredBytes, one.head.toString('hex')],
  );
}

function decode(chunks: readonly Buffer[], maxFrameBytes = LIMIT): Decoded[] {
  const { decoder, decoded } = recordingDecoder(maxFrameBytes);
  for (const chunk of chunks) decoder.push(chunk);
  expect(decoder.incomplete).toBe(false);
  decoder.end();
  return decoded;
}

function lengthPrefix(bytes: number): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes);
  return prefix;
}

describe('Any split of any sequence of frames', () => {
  it('decodes to the same frames, and to the same lengths and heads of frames that are too long', () => {
    fc.assert(
      fc.property(payloads, fc.array(fc.nat(), { maxLength: 30 }), (all, cuts) => {
        const bytes = encodeFrames(all);
        const chunks = cutAt(
          bytes,
          cuts.map((cut) => cut % (bytes.length + 1)),
        );
        expect(shown(decode(chunks))).toEqual(shown(expected(all)));
      }),
    );
  });

  it('may be byte by byte', () => {
    fc.assert(
      fc.property(payloads, (all) => {
        const bytes = encodeFrames(all);
        const chunks = Array.from(bytes, (byte) => Buffer.from([byte]));
        expect(shown(decode(chunks))).toEqual(shown(expected(all)));
      }),
      { numRuns: 30 },
    );
  });

  it('is the same for sinks that keep nothing, and for frames and chunks of any size', () => {
    const size = fc.nat({ max: 80_000 });
    fc.assert(
      fc.property(
        fc.array(size, { maxLength: 6 }),
        fc.array(size, { minLength: 1, maxLength: 6 }),
        (all, cuts) => {
          const sent = all.map((bytes) => Buffer.alloc(bytes, bytes % 251));
          for (const keepsNothing of [true, false]) {
            const came: Buffer[] = [];
            const decoder = new FrameDecoder(80_000, {
              keepsNothing,
              onFrame: (payload) => came.push(keepsNothing ? Buffer.from(payload) : payload),
              onOversize: () => undefined,
            });
            let stream = encodeFrames(sent);
            for (let i = 0; stream.length > 0; i += 1) {
              const cut = 1 + (cuts[i % cuts.length] ?? 0);
              decoder.push(Buffer.from(stream.subarray(0, cut)));
              stream = stream.subarray(cut);
            }
            expect(came.map((payload) => payload.toString('latin1'))).toEqual(
              sent.map((payload) => payload.toString('latin1')),
            );
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('may be one cut at every place, also inside each header', () => {
    const all = [Buffer.from('one'), Buffer.alloc(LIMIT + 1, 'x'), Buffer.alloc(0), Buffer.alloc(LIMIT, 'y')];
    const bytes = encodeFrames(all);
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(shown(decode(cutAt(bytes, [at])))).toEqual(shown(expected(all)));
    }
  });
});

describe('A decoder', () => {
  it('hands out a frame that lies in one chunk without copying it', () => {
    const chunk = encodeFrames(['first', 'second']);
    for (const payload of decode([chunk]) as Buffer[]) expect(payload.buffer).toBe(chunk.buffer);
  });

  it('hands out frames that stay right when the memory of later chunks is used again', () => {
    const { decoder, decoded } = recordingDecoder(LIMIT);
    const socket = Buffer.alloc(7);
    const bytes = encodeFrames(['spans many chunks', 'and so does this one']);
    for (let at = 0; at < bytes.length; at += socket.length) {
      const size = bytes.copy(socket, 0, at, at + socket.length);
      decoder.push(socket.subarray(0, size));
    }
    expect(decoded.map(String)).toEqual(['spans many chunks', 'and so does this one']);
  });

  it.each([1, 7, 1024, 16 * 1024])('copies each byte a few times at most in chunks of %d bytes', (step) => {
    const size = 1024 * 1024;
    const bytes = encodeFrame(new Uint8Array(size));
    const { copy } = Buffer.prototype;
    let copied = 0;
    Buffer.prototype.copy = function counted(this: Buffer, ...to: Parameters<Buffer['copy']>) {
      const count = copy.apply(this, to);
      copied += count;
      return count;
    };
    try {
      const { decoder, decoded } = recordingDecoder(size);
      for (let at = 0; at < bytes.length; at += step) decoder.push(bytes.subarray(at, at + step));
      expect(decoded).toHaveLength(1);
    } finally {
      Buffer.prototype.copy = copy;
    }
    expect(copied).toBeGreaterThanOrEqual(size);
    expect(copied).toBeLessThanOrEqual(3 * size);
  });

  it('sets aside no more than has arrived, within a factor, for a length that is only declared', () => {
    const { allocUnsafeSlow } = Buffer;
    let allocated = 0;
    Buffer.allocUnsafeSlow = (size) => {
      allocated += size;
      return allocUnsafeSlow(size);
    };
    try {
      const { decoder } = recordingDecoder(4 * 1024 * 1024);
      decoder.push(lengthPrefix(4 * 1024 * 1024));
      expect(allocated).toBe(0);
      decoder.push(Buffer.from('x'));
    } finally {
      Buffer.allocUnsafeSlow = allocUnsafeSlow;
    }
    expect(allocated).toBeLessThanOrEqual(16 * 1024);
  });

  it('keeps no more than the head of a frame that it skips', () => {
    const { decoder, decoded } = recordingDecoder(10);
    decoder.push(lengthPrefix(160));
    for (let at = 0; at < 160; at += 1) decoder.push(Buffer.from([at]));
    const bigger = recordingDecoder(LIMIT);
    bigger.decoder.push(encodeFrame(new Uint8Array(LIMIT * UNTRUSTED_LENGTH_FACTOR)));
    const [short] = decoded as { head: Buffer }[];
    const [long] = bigger.decoded as { head: Buffer }[];
    expect(short!.head).toHaveLength(160);
    expect(long!.head).toHaveLength(HEAD_BYTES);
    expect(long!.head.buffer.byteLength).toBe(HEAD_BYTES);
  });

  it('hands out 12,000 frames of one chunk without going deeper for each', () => {
    const texts = Array.from({ length: 12_000 }, (_, at) => String(at));
    const depths = new Set<number>();
    const seen: string[] = [];
    const decoder = new FrameDecoder(LIMIT, {
      onFrame: (payload) => {
        seen.push(payload.toString());
        if (seen.length % 1000 === 1) depths.add(stackDepth());
      },
      onOversize: () => undefined,
    });
    decoder.push(encodeFrames(texts));
    expect(seen).toEqual(texts);
    expect(depths.size).toBe(1);
  });

  it('takes empty chunks anywhere', () => {
    const empty = Buffer.alloc(0);
    const chunks = cutAt(encodeFrames(['ab', 'x'.repeat(LIMIT + 1), '']), [0, 2, 5, 6, 300]);
    const texts = decode(chunks.flatMap((chunk) => [empty, chunk, empty]));
    expect(texts.map((one) => (Buffer.isBuffer(one) ? String(one) : one.declaredBytes))).toEqual([
      'ab',
      LIMIT + 1,
      '',
    ]);
  });

  it('hands out a zero-length frame as soon as its header is there', () => {
    const { decoder, decoded } = recordingDecoder(LIMIT);
    for (const byte of [0, 0, 0]) decoder.push(Buffer.from([byte]));
    expect(decoded).toHaveLength(0);
    decoder.push(Buffer.from([0]));
    expect(shown(decoded)).toEqual(['']);
    expect(decoder.incomplete).toBe(false);
  });
});

function stackDepth(): number {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = Infinity;
  const depth = new Error('how deep').stack?.split('\n').length ?? 0;
  Error.stackTraceLimit = stackTraceLimit;
  return depth;
}

describe('The end of a stream', () => {
  it('is fine between frames and before the first', () => {
    const { decoder } = recordingDecoder(LIMIT);
    expect(() => decoder.end()).not.toThrow();
    decoder.push(encodeFrame('a'));
    expect(() => decoder.end()).not.toThrow();
  });

  it('inside a frame is DATA_LOSS and says how much had arrived', () => {
    const bytes = encodeFrame('hello');
    for (let at = 1; at < bytes.length; at += 1) {
      const { decoder } = recordingDecoder(LIMIT);
      decoder.push(bytes.subarray(0, at));
      expect(decoder.incomplete).toBe(true);
      const error = meshErrorOf(() => decoder.end());
      expect(error.code).toBe('DATA_LOSS');
      expect(error.message).toContain(at < 4 ? `${at} of 4 header bytes` : `${at - 4} of 5 bytes`);
    }
  });
});

describe('A length that cannot be trusted', () => {
  it.each([LIMIT * UNTRUSTED_LENGTH_FACTOR + 1, 0x4745_5420, 0xffff_ffff])(
    'throws at its header, naming the option and the value (%d)',
    (declared) => {
      for (const chunks of [[lengthPrefix(declared)], cutAt(lengthPrefix(declared), [1, 3])]) {
        const { decoder, decoded } = recordingDecoder(LIMIT);
        const error = meshErrorOf(() => chunks.forEach((chunk) => decoder.push(chunk)));
        expect(error.code).toBe('RESOURCE_EXHAUSTED');
        expect(error.message).toContain('limits.maxFrameBytes');
        expect(error.message).toContain(String(declared));
        decoder.push(encodeFrame('later'));
        decoder.end();
        expect(decoded).toEqual([]);
        expect(decoder.incomplete).toBe(false);
      }
    },
  );

  it('still lets the frames before it through', () => {
    const { decoder, decoded } = recordingDecoder(LIMIT);
    const chunk = Buffer.concat([encodeFrame('good'), lengthPrefix(0xffff_ffff), encodeFrame('bad')]);
    expect(() => decoder.push(chunk)).toThrow('cannot be trusted');
    expect(decoded.map(String)).toEqual(['good']);
  });
});

describe('A stopped decoder', () => {
  it('hands out nothing more, also when it was stopped by what it handed out', () => {
    const seen: string[] = [];
    const decoder = new FrameDecoder(LIMIT, {
      onFrame: (payload) => {
        seen.push(payload.toString());
        if (seen.length === 2) decoder.stop();
      },
      onOversize: () => undefined,
    });
    decoder.push(encodeFrames(['a', 'b', 'c']));
    decoder.push(encodeFrame('d'));
    decoder.end();
    expect(seen).toEqual(['a', 'b']);
  });

  it('can be stopped by a frame that is too long', () => {
    let skipped = 0;
    const decoder = new FrameDecoder(3, {
      onFrame: () => {
        throw new Error('nothing may follow');
      },
      onOversize: () => {
        skipped += 1;
        decoder.stop();
      },
    });
    decoder.push(encodeFrames(['too long', 'abc', 'too long']));
    expect(skipped).toBe(1);
  });

  it.each([2, 6])('has no frame under way, though it was stopped after %d bytes of one', (at) => {
    const { decoder, decoded } = recordingDecoder(LIMIT);
    const bytes = encodeFrame('half of it');
    decoder.push(bytes.subarray(0, at));
    decoder.stop();
    expect(decoder.incomplete).toBe(false);
    decoder.push(bytes.subarray(at));
    decoder.end();
    expect(decoded).toEqual([]);
  });

  it('is what a sink that throws leaves behind, since the rest of the chunk is lost', () => {
    const seen: string[] = [];
    const decoder = new FrameDecoder(LIMIT, {
      onFrame: (payload) => {
        seen.push(payload.toString());
        throw new Error('the sink failed');
      },
      onOversize: () => undefined,
    });
    const [first, second] = cutAt(encodeFrames(['a', 'bcdef', 'g']), [11]);
    expect(() => decoder.push(first!)).toThrow('the sink failed');
    decoder.push(second!);
    expect(seen).toEqual(['a']);
  });
});
