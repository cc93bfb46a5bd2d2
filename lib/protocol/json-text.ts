/** `JSON.stringify` for what holds long texts: it goes over each character, where a search shows that none needs an escape. */
import { types } from 'node:util';

/** From here on, in characters, a text is written by itself. */
const LONG_TEXT = 2 * 1024;
/** How deep properties are looked at: those of a packet, and those of what it carries. */
const DEPTH = 2;
/** How many properties of an object are looked at for a long text. */
const MOST_LOOKED_AT = 16;

/** For so many values after one that was long, long texts are looked for: where all are small, that is not paid for. */
const LOOKS = 1024;

/** All that comes before the space. */
const CONTROL = /[^ -\uffff]/;

type Fields = Record<string, unknown>;

let looksLeft = 0;

/** The very text that `JSON.stringify` gives, and `undefined` where it does; throws what it throws. */
export function jsonText(value: unknown): string | undefined {
  if (looksLeft > 0) {
    looksLeft -= 1;
    if (hasLongText(value, DEPTH)) {
      looksLeft = LOOKS;
      return textOfFields(value, DEPTH);
    }
  }
  const text = JSON.stringify(value) as string | undefined;
  if (text !== undefined && text.length >= LONG_TEXT) looksLeft = LOOKS;
  return text;
}

function textOfFields(fields: Fields, depth: number): string {
  let text = '';
  for (const key of Object.keys(fields)) {
    const field = textOfField(key, fields[key], depth);
    if (field === '') continue;
    text += text === '' ? field : `,${field}`;
  }
  return `{${text}}`;
}

/** The key and the value of one property; '' when it is left out. */
function textOfField(key: string, value: unknown, depth: number): string {
  if (isLongText(value) && isPlain(value)) return `${JSON.stringify(key)}:"${value}"`;
  if (hasLongText(value, depth - 1)) return `${JSON.stringify(key)}:${textOfFields(value, depth - 1)}`;
  // With its key, which a `toJSON` is told.
  return JSON.stringify({ [key]: value }).slice(1, -1);
}

/** True for an object that may be written property by property, and is worth it. */
function hasLongText(value: unknown, depth: number): value is Fields {
  if (depth === 0 || typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let looked = 0;
  for (const key in value) {
    const field = (value as Fields)[key];
    if (isLongText(field) || (typeof field === 'object' && hasLongText(field, depth - 1)))
      return isOfFields(value);
    looked += 1;
    if (looked === MOST_LOOKED_AT) return false;
  }
  return false;
}

/** False for what `JSON.stringify` writes in another way than by its properties. */
function isOfFields(value: object): boolean {
  // Objects without a prototype: what `JSON.rawJSON` gives is one.
  return (
    typeof (value as Fields)['toJSON'] !== 'function' &&
    Object.getPrototypeOf(value) !== null &&
    !types.isBoxedPrimitive(value)
  );
}

function isLongText(value: unknown): value is string {
  return (
    typeof value === 'string' && value.length >= LONG_TEXT && !value.includes('"') && !value.includes('\\')
  );
}

/** True for a text without quotes and backslashes that stands in JSON as it is. */
function isPlain(text: string): boolean {
  return !CONTROL.test(text) && isWellFormed(text);
}

/** JSON escapes a surrogate without its other half. */
function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}
