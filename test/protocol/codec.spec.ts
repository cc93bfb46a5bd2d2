/** JSON both ways, with everything that JSON cannot carry. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { JSON_CODEC } from '../../lib/protocol/codec.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { meshErrorOf } from './support.js';

const DEPTH = 100_000;

function roundTrip(value: unknown): unknown {
  return JSON_CODEC.decode(Buffer.from(JSON_CODEC.encode(value)));
}

describe('Encoding', () => {
  it('round-trips every JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.stringify(roundTrip(value))).toBe(JSON.stringify(value));
      }),
    );
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  it.each<[string, unknown, string]>([
    ['a BigInt', 1n, 'BigInt'],
    ['a BigInt inside', { deep: [1n] }, 'BigInt'],
    ['a cycle', cycle, 'circular'],
    ['undefined', undefined, 'undefined is not a JSON value'],
    ['a function', () => 1, 'function is not a JSON value'],
    ['a symbol', Symbol('a'), 'symbol is not a JSON value'],
    ['an object whose toJSON gives undefined', { toJSON: () => undefined }, 'object is not a JSON value'],
  ])('refuses %s in one line, before anything is sent', (_, value, word) => {
    const error = meshErrorOf(() => JSON_CODEC.encode(value));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', delivery: 'not-sent' });
    expect(error.message).toContain(word);
    expect(error.message).not.toContain('\n');
  });

  it('passes on what a toJSON throws, as the cause', () => {
    const cause = new Error('broken getter');
    const value = {
      toJSON: () => {
        throw cause;
      },
    };
    const error = meshErrorOf(() => JSON_CODEC.encode(value));
    expect(error.message).toContain('broken getter');
    expect(error.cause).toBe(cause);
  });

  it('refuses a value that is 100,000 deep, and goes on', () => {
    let deep: unknown[] = [];
    for (let level = 1; level < DEPTH; level += 1) deep = [deep];
    expect(meshErrorOf(() => JSON_CODEC.encode(deep))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      delivery: 'not-sent',
    });
    expect(JSON_CODEC.encode([1])).toBe('[1]');
  });
});

describe('Decoding', () => {
  it.each([
    ['arrays', '[', ']', (value: unknown) => (value as unknown[])[0]],
    ['objects', '{"a":', '}', (value: unknown) => (value as { a?: unknown }).a],
  ])('reads %s that are 100,000 deep, as JSON.parse does not recurse', (_, open, close, step) => {
    const inner = open === '[' ? '[]' : '{}';
    const text = open.repeat(DEPTH - 1) + inner + close.repeat(DEPTH - 1);
    let depth = 0;
    for (let at = JSON_CODEC.decode(Buffer.from(text)); at !== undefined; at = step(at)) depth += 1;
    expect(depth).toBe(DEPTH);
  });

  it('refuses JSON that is 100,000 deep and cut short', () => {
    const error = meshErrorOf(() => JSON_CODEC.decode(Buffer.from('['.repeat(DEPTH))));
    expect(error.code).toBe('INVALID_ARGUMENT');
  });

  it('keeps __proto__ as an own key that pollutes nothing, both ways', () => {
    const text = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    const value = JSON_CODEC.decode(Buffer.from(text)) as object;
    expect(Object.hasOwn(value, '__proto__')).toBe(true);
    expect(Object.getPrototypeOf(value)).toBe(Object.getPrototypeOf({}));
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(JSON_CODEC.encode(value)).toBe(text);
  });

  it('tells a U+FFFD that was sent from bytes that are not UTF-8', () => {
    expect(JSON_CODEC.decode(Buffer.from('"\ufffd"'))).toBe('\ufffd');
    const bad = Buffer.concat([Buffer.from('"\ufffd'), Buffer.from([0xff]), Buffer.from('"')]);
    expect(meshErrorOf(() => JSON_CODEC.decode(bad)).message).toContain(`${bad.length} bytes is not UTF-8`);
  });

  it('takes bytes for UTF-8 exactly when they are', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 6 }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, (inside) => {
        const payload = Buffer.concat([Buffer.from('"'), inside, Buffer.from('"')]);
        let valid = true;
        try {
          new TextDecoder('utf-8', { fatal: true }).decode(payload);
        } catch {
          valid = false;
        }
        let refused = false;
        try {
          JSON_CODEC.decode(payload);
        } catch (error) {
          refused = String(error).includes('not UTF-8');
        }
        expect(refused).toBe(!valid);
      }),
      { numRuns: 500 },
    );
  });

  it('never fails but with a MeshError', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.string().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, (payload) => {
        let failure: unknown;
        try {
          JSON_CODEC.decode(Buffer.from(payload));
        } catch (error) {
          failure = error;
        }
        expect(failure === undefined || MeshError.is(failure)).toBe(true);
      }),
    );
  });

  it('says that an empty payload is empty', () => {
    expect(meshErrorOf(() => JSON_CODEC.decode(Buffer.alloc(0))).message).toContain('empty payload');
  });
});
