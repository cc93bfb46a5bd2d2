/** MessagePack both ways: the values of JSON, bytes and 64-bit integers; and whatever else a peer may send. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { JSON_CODEC } from '../../lib/protocol/codec.js';
import { HEAD_BYTES } from '../../lib/protocol/frame-decoder.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { MSGPACK_CODEC } from '../../lib/protocol/msgpack-codec.js';
import { MAX_MSGPACK_DEPTH } from '../../lib/protocol/msgpack-reader.js';
import { meshErrorOf } from './support.js';

/** The reader and writer of another hand. */
const msgpackr = createRequire(import.meta.url)('msgpackr') as {
  Packr: new (options: object) => { pack(value: unknown): Buffer; unpack(bytes: Uint8Array): unknown };
};
const other = new msgpackr.Packr({ useRecords: false, variableMapSize: true, int64AsType: 'auto' });

function encode(value: unknown): Buffer {
  return Buffer.from(MSGPACK_CODEC.encode(value));
}

function roundTrip(value: unknown): unknown {
  return MSGPACK_CODEC.decode(encode(value));
}

function overJson(value: unknown): unknown {
  return JSON_CODEC.decode(Buffer.from(JSON_CODEC.encode(value)));
}

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
  get sum(): number {
    return this.x + this.y;
  }
}

describe('A value over MessagePack', () => {
  it('is what it is over JSON, for every JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.stringify(roundTrip(value))).toBe(JSON.stringify(overJson(value)));
      }),
    );
  });

  const proto: unknown = JSON.parse('{"a":1,"__proto__":{"polluted":true}}');
  it.each<[string, unknown]>([
    ['a Date', { at: new Date(0) }],
    ['undefined in an object, and functions and symbols', { a: undefined, b: () => 1, c: Symbol('c'), d: 1 }],
    ['undefined in an array', [undefined, () => 1, Symbol('c'), 1]],
    ['NaN and infinities', [Number.NaN, Infinity, -Infinity, -0]],
    [
      'a Map, a Set, an Error and a RegExp',
      { m: new Map([[1, 2]]), s: new Set([1]), e: new Error('x'), r: /a/ },
    ],
    ['an instance of a class', new Point(1, 2)],
    ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['boxed values', [Object('text'), Object(1), Object(true)]],
    [
      'toJSON, which is told its key',
      { named: { toJSON: (key: string) => ({ key }) }, list: [{ toJSON: (key: string) => key }] },
    ],
    ['a toJSON that gives something with a toJSON', { toJSON: () => ({ toJSON: () => 'never', a: 1 }) }],
    ['a key named __proto__', proto],
    [
      'keys that objects have as methods',
      { constructor: 'a', hasOwnProperty: 'b', toString: 'c', valueOf: 1 },
    ],
    ['large whole numbers', [2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1, 1e20, 1e-7, 1.5]],
    ['a sparse array', [, 1]], // oxlint-disable-line no-sparse-arrays -- it is what is tested
    ['a typed array that is no Uint8Array', new Uint16Array([1, 2])],
    [
      'texts of all lengths',
      Array.from({ length: 300 }, (_, length) => 'é'.repeat(length) + 'a'.repeat(length)),
    ],
    ['a text that begins with a byte order mark', `\ufeff${'a'.repeat(100)}`],
    ['U+FFFD', '\ufffd'],
  ])('is what it is over JSON: %s', (_what, value) => {
    expect(roundTrip(value)).toStrictEqual(overJson(value));
    expect(JSON.stringify(roundTrip(value))).toBe(JSON.stringify(overJson(value)));
  });

  it('has U+FFFD in the place of half a surrogate pair, also in a key', () => {
    expect(roundTrip({ 'a\ud800': 'b\udc00' })).toEqual({ 'a\ufffd': 'b\ufffd' });
  });

  it('does not change what is sent, nor the prototype of what arrives', () => {
    const inner = Object.freeze({ at: new Date(0), none: undefined });
    const value = Object.freeze({ list: Object.freeze([inner, undefined]), inner });
    roundTrip(value);
    expect(value.inner.at).toEqual(new Date(0));
    const arrived = roundTrip(proto) as object;
    expect(Object.getPrototypeOf(arrived)).toBe(Object.prototype);
    expect((arrived as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.keys(arrived)).toEqual(['a', '__proto__']);
  });

  it.each<[string, unknown]>([
    ['a Buffer', Buffer.from([0, 255, 128])],
    ['a Uint8Array', new Uint8Array([0, 255, 128])],
    ['an ArrayBuffer', new Uint8Array([0, 255, 128]).buffer],
  ])('that is bytes arrives as a Buffer: %s', (_what, value) => {
    const { inner } = roundTrip({ inner: value }) as { inner: unknown };
    expect(Buffer.isBuffer(inner)).toBe(true);
    expect(inner).toEqual(Buffer.from([0, 255, 128]));
  });

  it('that is bytes arrives whole, whatever its size', () => {
    for (const size of [0, 1, 255, 256, 65_535, 65_536, 300_000]) {
      const value = Buffer.alloc(size, 7);
      expect(Buffer.compare(roundTrip(value) as Buffer, value)).toBe(0);
    }
  });

  it('that is bytes keeps no more memory than twice its own alive', () => {
    const payload = encode([Buffer.alloc(16, 1), 'x'.repeat(100_000)]);
    const [small] = MSGPACK_CODEC.decode(payload) as [Buffer];
    expect(small.buffer).not.toBe(payload.buffer);
    expect(small.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize);
  });

  it('that is a BigInt of 64 bits arrives exactly, as a number where that is exact', () => {
    const values = [
      2n ** 64n - 1n,
      -(2n ** 63n),
      2n ** 53n,
      -(2n ** 53n),
      2n ** 53n - 1n,
      -(2n ** 53n) + 1n,
      5n,
    ];
    expect(roundTrip(values)).toEqual([
      2n ** 64n - 1n,
      -(2n ** 63n),
      2n ** 53n,
      -(2n ** 53n),
      2 ** 53 - 1,
      -(2 ** 53) + 1,
      5,
    ]);
  });

  it('is read the same by another implementation, and read here as that one wrote it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!JSON.stringify(value).includes('__proto__'));
        expect(other.unpack(encode(value))).toEqual(MSGPACK_CODEC.decode(other.pack(value)));
      }),
    );
  });
});

describe('Encoding MessagePack', () => {
  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  it.each<[string, unknown, string]>([
    ['a cycle', cycle, 'refers to itself'],
    ['undefined', undefined, 'undefined is not a value'],
    ['a function', () => 1, 'function is not a value'],
    ['an object whose toJSON gives undefined', { toJSON: () => undefined }, 'object is not a value'],
    ['a BigInt of more than 64 bits', { big: 2n ** 64n }, '18446744073709551616 does not fit into 64 bits'],
  ])('refuses %s, before anything is sent', (_what, value, word) => {
    const error = meshErrorOf(() => MSGPACK_CODEC.encode(value));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', delivery: 'not-sent' });
    expect(error.message).toContain(word);
  });

  it('passes on what a toJSON throws, as the cause, and goes on', () => {
    const cause = new Error('broken getter');
    const toJSON = (): never => {
      throw cause;
    };
    const error = meshErrorOf(() => MSGPACK_CODEC.encode({ before: 1, broken: { toJSON } }));
    expect(error.message).toContain('broken getter');
    expect(error.cause).toBe(cause);
    expect(encode([1]).toString('hex')).toBe('9101');
  });

  it('takes what is nested as deep as the limit, and refuses what is deeper', () => {
    const nested = (depth: number): unknown => {
      let value: unknown = 1;
      for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value };
      return value;
    };
    expect(roundTrip(nested(MAX_MSGPACK_DEPTH))).toEqual(nested(MAX_MSGPACK_DEPTH));
    expect(meshErrorOf(() => MSGPACK_CODEC.encode(nested(MAX_MSGPACK_DEPTH + 1))).message).toContain(
      '512 levels',
    );
  });

  it('hands out bytes that nothing writes to again, and lets the room for a large value go', () => {
    const first = encode({ a: 'first' });
    const copy = Buffer.from(first);
    const large = MSGPACK_CODEC.encode('x'.repeat(3_000_000)) as Buffer;
    const after = MSGPACK_CODEC.encode({ a: 'after' }) as Buffer;
    expect(Buffer.compare(first, copy)).toBe(0);
    expect(large.length).toBe(3_000_005);
    expect(large.buffer.byteLength).toBe(large.length);
    expect(after.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize);
  });
});

describe('Decoding MessagePack', () => {
  it('reads every form of a number and of a text', () => {
    const read = (hex: string): unknown => MSGPACK_CODEC.decode(bytes(hex));
    expect(['00', '7f', 'e0', 'ff', 'cc ff', 'cd ffff', 'ce ffffffff'].map(read)).toEqual([
      0, 127, -32, -1, 255, 65_535, 4_294_967_295,
    ]);
    expect(
      ['d0 80', 'd1 8000', 'd2 80000000', 'd3 ffffffffffffffff', 'cf 0000000100000000'].map(read),
    ).toEqual([-128, -32_768, -2_147_483_648, -1, 4_294_967_296]);
    expect(['ca 3fc00000', 'cb 3ff8000000000000', 'c0', 'c2', 'c3'].map(read)).toEqual([
      1.5,
      1.5,
      null,
      false,
      true,
    ]);
    expect(['a161', 'd90161', 'da000161', 'db0000000161'].map(read)).toEqual(['a', 'a', 'a', 'a']);
  });

  it('reads timestamps as dates, and extension 0 as undefined', () => {
    const read = (hex: string): unknown => MSGPACK_CODEC.decode(bytes(hex));
    expect(read('d6 ff 00000001')).toEqual(new Date(1_000));
    expect(read('d7 ff 1dcd6500 00000001')).toEqual(new Date(1_125));
    expect(read('c7 0c ff 1dcd6500 ffffffffffffffff')).toEqual(new Date(-500));
    expect(read('92 d40000 01')).toEqual([undefined, 1]);
  });

  it.each([
    ['nothing', '', 'ends where'],
    ['a value that is cut short', '92 01', 'array declares 2 entries'],
    ['a text that is cut short', 'a5 6161', 'ends where 5 more bytes'],
    ['more than one value', '01 02', '1 bytes follow'],
    ['the byte that means nothing', 'c1', '0xc1'],
    ['an extension', 'd4 01 00', 'extension of type 1'],
    ['an extension with a negative type', 'd4 fe 00', 'extension of type -2'],
    ['a timestamp of an odd size', 'd5 ff 0000', 'a timestamp of 2 bytes'],
    ['a text that is not UTF-8', 'a2 c328', 'not UTF-8'],
    ['a long text that is not UTF-8', `d940${'61'.repeat(62)}c328`, 'not UTF-8'],
    ['a key that is a map', '81 80 01', 'a key of a map'],
    ['a key that is nil', '81 c0 01', 'a key of a map'],
    ['a key that is a number', '81 01 01', 'a key of a map'],
  ])('refuses %s', (_what, hex, word) => {
    const error = meshErrorOf(() => MSGPACK_CODEC.decode(bytes(hex)));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain('is not MessagePack');
    expect(error.message).toContain(word);
  });

  it('of any bytes gives a value or a MeshError, never anything else', () => {
    const tokens = fc.constantFrom(
      0x80,
      0x81,
      0x91,
      0xc4,
      0xc7,
      0xd4,
      0xd9,
      0xdc,
      0xdd,
      0xde,
      0xdf,
      0xa1,
      0xff,
      0x00,
    );
    const hostile = fc.array(fc.oneof(tokens, fc.integer({ min: 0, max: 255 })), { maxLength: 200 });
    fc.assert(
      fc.property(hostile, (items) => {
        try {
          MSGPACK_CODEC.decode(Buffer.from(items));
        } catch (error) {
          expect(MeshError.is(error)).toBe(true);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('of what is valid up to a changed byte never throws anything else either', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(), fc.integer({ min: 0, max: 255 }), (value, at, byte) => {
        const payload = encode(value);
        payload[at % payload.length] = byte;
        try {
          MSGPACK_CODEC.decode(payload);
        } catch (error) {
          expect(MeshError.is(error)).toBe(true);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['arrays that declare 2^32 - 1 items', 'ddffffffff'],
    ['maps that declare 2^32 - 1 entries', 'dfffffffff'],
    ['bytes that declare 4 GiB', 'c6ffffffff'],
    ['a text that declares 4 GiB', 'dbffffffff'],
    ['an extension that declares 4 GiB', 'c9ffffffffff'],
  ])('believes no declared size: %s', (_what, hex) => {
    expect(meshErrorOf(() => MSGPACK_CODEC.decode(bytes(hex))).code).toBe('INVALID_ARGUMENT');
    expect(meshErrorOf(() => MSGPACK_CODEC.decode(bytes(hex.repeat(1_000)))).code).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['arrays', '91'],
    ['maps', '81a0'],
    ['large arrays that declare all that follows', 'dc03e8'],
  ])('refuses nesting without end: %s', (_what, hex) => {
    const error = meshErrorOf(() => MSGPACK_CODEC.decode(bytes(hex.repeat(100_000))));
    expect(error.message).toContain('512 levels');
  });

  const MIB = 1024 * 1024;
  const filled = (hex: string): Buffer => {
    const items = bytes(hex);
    const head = Buffer.from([0xdd, 0, 0, 0, 0]);
    head.writeUInt32BE(MIB / items.length, 1);
    return Buffer.concat([head, Buffer.alloc(MIB, items)]);
  };
  it.each([
    ['empty maps', '80'],
    ['empty arrays', '90'],
    ['empty bytes', 'c400'],
    ['texts of one letter', 'a161'],
  ])('takes no more than 128 times the length of a payload, at the worst: 1 MiB of %s', (_what, hex) => {
    const payload = filled(hex);
    const before = process.memoryUsage();
    const value = MSGPACK_CODEC.decode(payload) as unknown[];
    const after = process.memoryUsage();
    const taken = after.heapUsed + after.external - before.heapUsed - before.external;
    expect(value.length).toBeGreaterThan(0);
    expect(taken).toBeLessThan(128 * payload.length);
  });

  it('of a payload that makes nested arrays all declare the rest of it takes no memory for what is not there', () => {
    const levels = 500;
    const head = Buffer.alloc(5 * levels);
    const rest = MIB;
    for (let level = 0; level < levels; level += 1) {
      head[5 * level] = 0xdd;
      head.writeUInt32BE(rest, 5 * level + 1);
    }
    const before = process.memoryUsage().heapUsed;
    const payload = Buffer.concat([head, Buffer.alloc(rest, 1)]);
    expect(meshErrorOf(() => MSGPACK_CODEC.decode(payload)).code).toBe('INVALID_ARGUMENT');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(128 * payload.length);
  });
});

describe('The vectors that every implementation shares', () => {
  interface Vector {
    readonly name: string;
    readonly hex: string;
    readonly value?: unknown;
    readonly call?: unknown;
  }
  const path = join(import.meta.dirname, '..', 'vectors', 'msgpack.json');
  const vectors = JSON.parse(readFileSync(path, 'utf8')) as Record<'frames' | 'errors' | 'heads', Vector[]>;
  const payloadOf = ({ hex }: Vector): Buffer => bytes(hex).subarray(4);

  it.each(vectors.frames)('decode to their value: $name', (vector) => {
    expect(MSGPACK_CODEC.decode(payloadOf(vector))).toEqual(vector.value);
    expect(roundTrip(vector.value)).toEqual(vector.value);
  });

  it.each(vectors.errors)('are refused: $name', (vector) => {
    expect(meshErrorOf(() => MSGPACK_CODEC.decode(payloadOf(vector))).code).toBe('INVALID_ARGUMENT');
  });

  it.each(vectors.heads)('tell whose the packet is: $name', ({ hex, call }) => {
    expect(MSGPACK_CODEC.peekPacket(bytes(hex)) ?? null).toEqual(call);
  });
});

describe('The first bytes of a packet in MessagePack', () => {
  const PACKETS = [
    { packet: { id: 7, pattern: 'a', data: 'x'.repeat(300) }, seen: { id: 7, isRequest: true } },
    { packet: { id: 'seven', pattern: { cmd: 'a' } }, seen: { id: 'seven', isRequest: true } },
    { packet: { id: 70_000, event: true, pattern: 'a' }, seen: { id: 70_000, isRequest: true } },
    { packet: { id: 2 ** 40, response: [] }, seen: { id: 2 ** 40, isRequest: false } },
    { packet: { id: 1, err: 'x', isDisposed: true }, seen: { id: 1, isRequest: false } },
    { packet: { id: 1, isDisposed: true }, seen: { id: 1, isRequest: false } },
    { packet: { id: 1, cancel: true }, seen: undefined },
    { packet: { id: [], pattern: 'a' }, seen: undefined },
    { packet: { id: 1, event: false, pattern: 'a' }, seen: undefined },
    { packet: { pattern: 'a', id: 1 }, seen: undefined },
    { packet: [1], seen: undefined },
    { packet: 'text', seen: undefined },
  ];

  it.each(PACKETS)('tell whose it is, or nothing, wherever they are cut: $packet', ({ packet, seen }) => {
    const payload = encode(packet);
    expect(MSGPACK_CODEC.peekPacket(payload.subarray(0, HEAD_BYTES))).toEqual(seen);
    for (let cut = 0; cut <= Math.min(payload.length, HEAD_BYTES); cut += 1) {
      const peeked = MSGPACK_CODEC.peekPacket(payload.subarray(0, cut));
      if (peeked !== undefined) expect(peeked).toEqual(seen);
    }
  });

  it('tell an event, which has no id', () => {
    expect(MSGPACK_CODEC.isEventHead(encode({ pattern: 'a', data: 1 }))).toBe(true);
    expect(MSGPACK_CODEC.isEventHead(encode({ id: 1, pattern: 'a' }))).toBe(false);
    expect(MSGPACK_CODEC.isEventHead(encode('pattern'))).toBe(false);
    expect(MSGPACK_CODEC.isEventHead(Buffer.alloc(0))).toBe(false);
  });

  it('never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: HEAD_BYTES }), (head) => {
        MSGPACK_CODEC.peekPacket(Buffer.from(head));
        MSGPACK_CODEC.isEventHead(Buffer.from(head));
      }),
    );
  });
});
