/** Guards of packets, and what can be told from the head of one that is too long. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { encodeFrame } from '../../lib/protocol/frame.js';
import { HEAD_BYTES } from '../../lib/protocol/frame-decoder.js';
import { peekPacket } from '../../lib/protocol/json-head.js';
import { isPacketId, packetKind, readMetadata, readTimeoutMs } from '../../lib/protocol/packet.js';

describe('packetKind', () => {
  // What JSON cannot say; the rest of the table is in the shared vectors.
  it.each<[string, unknown, string | undefined]>([
    ['undefined', undefined, undefined],
    ['a function', () => 1, undefined],
    ['an id of NaN', { id: Number.NaN, pattern: 'a' }, undefined],
    ['an id of Infinity', { id: Infinity, response: 1 }, undefined],
    ['an id that is a BigInt', { id: 1n, pattern: 'a' }, undefined],
    ['an undefined id', { id: undefined, pattern: 'a' }, 'event'],
    ['an undefined response', { id: '1', response: undefined }, undefined],
    ['a function as pattern', { pattern: () => 1 }, undefined],
    ['a symbol as pattern', { pattern: Symbol('a') }, undefined],
  ])('of %s', (_, value, kind) => {
    expect(packetKind(value)).toBe(kind);
  });

  it('reads what JSON.parse makes of __proto__ as a key like any other', () => {
    expect(packetKind(JSON.parse('{"__proto__":{"id":"1","pattern":"a"}}'))).toBeUndefined();
    expect(packetKind(JSON.parse('{"pattern":"a","__proto__":{"id":"1"}}'))).toBe('event');
  });

  it('never throws, and calls nothing a packet but objects', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
        expect(isObject || packetKind(value) === undefined).toBe(true);
      }),
    );
  });
});

describe('isPacketId', () => {
  it.each([0, -1, 1.5, Number.MAX_SAFE_INTEGER, 'a', 'i'.repeat(256)])('takes %p', (id) => {
    expect(isPacketId(id)).toBe(true);
  });

  it.each([Number.NaN, Infinity, '', 'i'.repeat(257), null, undefined, true, {}, [], 1n])(
    'refuses %p',
    (id) => {
      expect(isPacketId(id)).toBe(false);
    },
  );
});

describe('readMetadata', () => {
  it('keeps strings, makes strings of numbers and booleans, and leaves the rest out', () => {
    const value = { a: 'x', b: 1, c: false, d: null, e: {}, f: ['x'], g: '' };
    expect(readMetadata(value)).toEqual({ a: 'x', b: '1', c: 'false', g: '' });
  });

  it.each([undefined, null, 'a', 1, true, ['a']])('gives undefined for %p, which is no object', (value) => {
    expect(readMetadata(value)).toBeUndefined();
  });

  it('leaves __proto__ out, so that nothing is polluted', () => {
    const metadata = readMetadata(JSON.parse('{"__proto__":"x","constructor":"y","toString":"z"}'));
    expect(Object.entries(metadata ?? {})).toEqual([
      ['constructor', 'y'],
      ['toString', 'z'],
    ]);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
    expect(readMetadata(JSON.parse('{"__proto__":{"polluted":"x"}}'))).toEqual({});
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

describe('readTimeoutMs', () => {
  it.each([0, 0.5, 30_000, Number.MAX_SAFE_INTEGER])('takes %p', (value) => {
    expect(readTimeoutMs(value)).toBe(value);
  });

  it.each([-1, Number.NaN, Infinity, -Infinity, '5', null, undefined, {}])('ignores %p', (value) => {
    expect(readTimeoutMs(value)).toBeUndefined();
  });
});

const id = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.string({ minLength: 1, maxLength: 40 }),
  fc.string({ minLength: 1, maxLength: 40, unit: 'binary' }),
  fc.string({
    minLength: 1,
    maxLength: 40,
    unit: fc.constantFrom('"', '\\', '\n', '\u0001', 'é', '🚀', '\ud800'),
  }),
);
const long = 'x'.repeat(2 * HEAD_BYTES);
const packet = fc.oneof(
  id.map((one) => ({ packet: { id: one, pattern: 'a', data: long }, seen: { id: one, isRequest: true } })),
  id.map((one) => ({
    packet: { id: one, event: true, pattern: 'a', data: long },
    seen: { id: one, isRequest: true },
  })),
  id.map((one) => ({ packet: { id: one, response: long }, seen: { id: one, isRequest: false } })),
  id.map((one) => ({ packet: { id: one, err: { message: long } }, seen: { id: one, isRequest: false } })),
);

describe('peekPacket', () => {
  it('tells nothing or the truth, wherever the head was cut', () => {
    fc.assert(
      fc.property(packet, fc.nat(2 * HEAD_BYTES), (one, cut) => {
        const seen = peekPacket(Buffer.from(JSON.stringify(one.packet)).subarray(0, cut));
        expect([undefined, one.seen]).toContainEqual(seen);
      }),
      { numRuns: 500 },
    );
  });

  it('tells whose it was from the head that a decoder keeps', () => {
    fc.assert(
      fc.property(packet, (one) => {
        const text = JSON.stringify(one.packet);
        const head = encodeFrame(text).subarray(4, 4 + HEAD_BYTES);
        // An id written in escapes can fill the head, so that what follows is cut off.
        fc.pre(Buffer.byteLength(JSON.stringify(one.seen.id)) < HEAD_BYTES - 50);
        expect(peekPacket(head)).toEqual(one.seen);
      }),
    );
  });

  it('never throws, whatever the bytes', () => {
    const alike = fc.string({
      unit: fc.constantFrom(
        '{',
        '}',
        '"',
        ':',
        ',',
        '\\',
        'u',
        'id',
        '0',
        '7',
        '-',
        ' ',
        '\n',
        '"id":',
        '"pattern":',
        '{"id":"',
      ),
      maxLength: 30,
    });
    const bytes = fc.oneof(
      fc.uint8Array(),
      alike,
      alike.map((text) => `{"id":${text},"pattern":"a"`),
    );
    fc.assert(
      fc.property(bytes, (head) => {
        expect(() => peekPacket(Buffer.from(head as string))).not.toThrow();
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['an id that is no JSON number', '{"id":007,"pattern":"a","data":"x'],
    ['an id with a bad escape', '{"id":"\\x","pattern":"a","data":"x'],
    ['an id with a cut Unicode escape', '{"id":"\\u12","pattern":"a","data":"x'],
    ['an id with a raw line break', '{"id":"a\nb","pattern":"a","data":"x'],
    ['an empty id', '{"id":"","pattern":"a","data":"x'],
    ['an id that is null', '{"id":null,"pattern":"a","data":"x'],
    ['an id cut behind a backslash', '{"id":"abc\\'],
    ['an id cut behind an escaped quote', '{"id":"abc\\"'],
    ['an id that does not come first', '{"pattern":"a","id":"1","data":"x'],
    ['an id in an array', '[{"id":"1","pattern":"a","data":"x'],
  ])('tells nothing from %s', (_, head) => {
    expect(peekPacket(Buffer.from(head))).toBeUndefined();
  });

  it.each([
    ['neither pattern nor response follows', '{"id":"1","data":"xxx'],
    ['the head ends behind the id', '{"id":"1"'],
    ['the next key is cut', '{"id":"1","patt'],
    ['the next key only begins like one', '{"id":"1","patterns":"a"'],
    ['the word is a value', '{"id":"1","x":"pattern"'],
  ])('does not guess the kind when %s: a call that is well could be failed', (_, head) => {
    expect(peekPacket(Buffer.from(head))).toBeUndefined();
  });

  it('takes white space where JSON has it', () => {
    const head = Buffer.from(' {\n "id" : 12 ,\t"event" : true , "pattern" : "a"');
    expect(peekPacket(head)).toEqual({ id: 12, isRequest: true });
  });
});
