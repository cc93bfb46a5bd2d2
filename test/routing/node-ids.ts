/** Ids for tests that count: the same in each run. */
import { createHash } from 'node:crypto';

/** A UUID made of a number: the ids of real nodes look like that. */
export function idOf(seed: number): string {
  const hex = createHash('sha256').update(String(seed)).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
