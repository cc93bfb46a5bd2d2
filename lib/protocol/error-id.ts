/** The id of an error that callers are not told: it names the line of the callee's log that tells it. */

const MAX_LENGTH = 128;

/** True for what can be such an id on the wire. */
export function isErrorId(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) && value.length <= MAX_LENGTH;
}

/** Puts the id on an error that has come, out of sight of comparisons and of JSON. Does nothing for what is no id, or no object. */
export function tagError(err: unknown, errorId: unknown): void {
  if (typeof err !== 'object' || err === null || !isErrorId(errorId) || Object.hasOwn(err, 'errorId')) return;
  Object.defineProperty(err, 'errorId', { value: errorId, configurable: true });
}
