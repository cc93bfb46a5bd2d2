/**
 * A value as `JSON.stringify` would take it, so that nobody sees which codec a channel speaks; only bytes and 64-bit integers,
 * which JSON cannot say, stay what they are.
 */
import { isAnyArrayBuffer, isBoxedPrimitive, isUint8Array } from 'node:util/types';
import { MAX_MSGPACK_DEPTH, setOwn } from './msgpack-reader.js';

const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

/** Nothing is copied that is plain already. `undefined` for what JSON leaves out. Throws an `Error` for what cannot travel. */
export function plainOf(value: unknown): unknown {
  return plain(value, '', 0);
}

function plain(value: unknown, key: string | number, depth: number): unknown {
  switch (typeof value) {
    case 'boolean':
      return value;
    case 'string':
      return wellFormed(value);
    case 'number':
      return numberOf(value);
    case 'bigint':
      if (value < MIN_INT64 || value > MAX_UINT64)
        throw new RangeError(`the BigInt ${value} does not fit into 64 bits`);
      return value;
    case 'object':
      return value === null ? null : objectOf(value, key, depth);
    default:
      return undefined;
  }
}

/** JSON has no NaN and no infinities. Beyond 32 bits msgpackr would write whole numbers as floats, which they are not for others. */
function numberOf(value: number): number | bigint | null {
  if (value >>> 0 === value || value >> 0 === value) return value;
  if (Number.isSafeInteger(value)) return BigInt(value);
  return Number.isFinite(value) ? value : null;
}

function objectOf(value: object, key: string | number, depth: number): unknown {
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON !== 'function' || isUint8Array(value)) return containerOf(value, depth);
  const json: unknown = toJSON.call(value, String(key));
  return typeof json === 'object' && json !== null ? containerOf(json, depth) : plain(json, key, depth);
}

function containerOf(value: object, depth: number): unknown {
  if (depth >= MAX_MSGPACK_DEPTH)
    throw new RangeError(`it refers to itself, or is nested deeper than ${MAX_MSGPACK_DEPTH} levels`);
  if (Array.isArray(value)) return arrayOf(value, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return recordOf(value, depth, false);
  if (isUint8Array(value)) return value;
  if (isAnyArrayBuffer(value)) return new Uint8Array(value);
  if (isBoxedPrimitive(value)) return plain(value.valueOf(), '', depth);
  // Maps, Sets, Errors and the instances of any class: what they have as enumerable properties of their own.
  return recordOf(value, depth, true);
}

function arrayOf(value: readonly unknown[], depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let i = 0; i < value.length; i += 1) {
    const item: unknown = value[i];
    const made = plain(item, i, depth + 1) ?? null;
    if (made !== item) copy ??= value.slice();
    if (copy !== undefined) copy[i] = made;
  }
  return copy ?? value;
}

function recordOf(value: object, depth: number, always: boolean): object {
  const record = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(record);
  let copy: Record<string, unknown> | undefined = always ? {} : undefined;
  for (const [at, key] of keys.entries()) {
    const item = record[key];
    const made = plain(item, key, depth + 1);
    const name = wellFormed(key);
    if (copy === undefined) {
      if (made === item && made !== undefined && name === key) continue;
      copy = {};
      for (const before of keys.slice(0, at)) setOwn(copy, before, record[before]);
    }
    if (made !== undefined) setOwn(copy, name, made);
  }
  return copy ?? value;
}

/** Half a surrogate pair has no UTF-8. */
function wellFormed(text: string): string {
  // ES2024, and in every Node that this package runs on.
  const es2024 = text as string & { isWellFormed(): boolean; toWellFormed(): string };
  return es2024.isWellFormed() ? text : es2024.toWellFormed();
}
