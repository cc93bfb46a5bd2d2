/** Long texts are written without `JSON.stringify`, and nobody can tell. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { jsonText } from '../../lib/protocol/json-text.js';

const LONG = 'abcdefghij'.repeat(300);

class Told {
  toJSON(key: string): string {
    return `told ${key}`;
  }
}

class Letter {
  readonly kind = 'letter';
  readonly text = LONG;
}

describe('The JSON of values with long texts', () => {
  // Long texts are looked for only once there was a long value.
  beforeEach(() => {
    jsonText(LONG);
  });

  it.each<[string, unknown]>([
    ['plain', { id: 1, data: { text: LONG } }],
    ['with a quote', { data: { text: `${LONG}"` } }],
    ['with a backslash', { data: { text: `${LONG}\\` } }],
    ['with a line end', { data: { text: `${LONG}\n` } }],
    ['with the last control character', { data: { text: `${LONG}\u001f` } }],
    ['with a NUL', { data: { text: `${LONG}\0` } }],
    ['with DEL and line separators', { data: { text: `${LONG}\u007f\u2028\u2029` } }],
    ['with the first half of a surrogate pair', { data: { text: `${LONG}\ud800` } }],
    ['with the second half of a surrogate pair', { data: { text: `${LONG}\udc00 ` } }],
    ['beyond ASCII', { data: { text: `${LONG}é漢😀\uffff` } }],
    ['under a key that needs escapes', { 'a"\n': LONG, data: { '\\': LONG } }],
    [
      'under the key __proto__',
      JSON.parse(`{"__proto__":"${LONG}","data":{"__proto__":{},"text":"${LONG}"}}`),
    ],
    ['beside what is left out', { a: undefined, b: LONG, c: () => 1, d: Symbol('d'), e: null, f: NaN }],
    [
      'beside a toJSON that is told its key',
      { text: LONG, told: new Told(), data: { text: LONG, of: new Told() } },
    ],
    ['in an object with a toJSON', { data: { text: LONG, toJSON: () => 'short' } }],
    ['beside a field named toJSON', { text: LONG, toJSON: 5 }],
    ['in an instance of a class', { data: new Letter() }],
    ['in an object without a prototype', { data: Object.assign(Object.create(null), { text: LONG }) }],
    ['on a boxed number', { data: Object.assign(Object(7), { text: LONG }) }],
    ['in an array', { data: [LONG, { text: LONG }] }],
    ['with keys that are numbers', { b: LONG, 2: LONG, 1: 'x' }],
    ['deep inside', { text: LONG, data: { text: LONG, deep: { deeper: { text: LONG } } } }],
    ['inherited', { data: Object.create({ text: LONG }) as unknown }],
    ['not enumerable', { text: LONG, data: Object.defineProperty({ a: 1 }, 'text', { value: LONG }) }],
  ])('is what JSON.stringify gives: %s', (_name, value) => {
    expect(jsonText(value)).toBe(JSON.stringify(value));
  });

  it('is what JSON.stringify gives for any text', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, text, fc.jsonValue(), (start, key, rest) => {
        const value = { id: 1, data: { [key]: start + LONG, rest }, rest };
        expect(jsonText(value)).toBe(JSON.stringify(value));
      }),
    );
  });

  it('still fails for a cycle and a BigInt beside a long text', () => {
    const cycle: Record<string, unknown> = { text: LONG };
    cycle['self'] = cycle;
    expect(() => jsonText({ data: cycle })).toThrow('circular');
    expect(() => jsonText({ data: { text: LONG, big: 1n } })).toThrow('BigInt');
  });
});
