/**
 * Rendezvous (highest random weight) hashing: a key keeps its node while that node is there, and when a node goes only
 * its own keys move.
 *
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 6(1), 1998.
 */
import type { Candidate } from './picker.js';

const { imul } = Math;

/** The candidate with the highest weight for `key`; `undefined` when there is none. */
export function rendezvous<Node extends Candidate>(
  candidates: readonly Node[],
  key: string,
): Node | undefined {
  const seed = hash(key, 0x811c9dc5);
  let best: Node | undefined;
  let bestWeight = -1;
  for (const candidate of candidates) {
    const weight = mix(hash(candidate.id, seed));
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && candidate.id > best.id)) {
      best = candidate;
      bestWeight = weight;
    }
  }
  return best;
}

/** FNV-1a over UTF-16 code units. */
function hash(text: string, seed: number): number {
  let state = seed;
  for (let at = 0; at < text.length; at += 1) state = imul(state ^ text.charCodeAt(at), 0x01000193);
  return state;
}

/** The finalizer of MurmurHash3: spreads FNV's weak high bits. */
function mix(value: number): number {
  let state = value;
  state = imul(state ^ (state >>> 16), 0x85ebca6b);
  state = imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
