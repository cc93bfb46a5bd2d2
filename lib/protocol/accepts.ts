/** Kinds of packets that came after version 1 of the protocol: each side says which of them it takes when a packet channel opens. */
import { HEADER, headerOf, type HeaderBlock } from './headers.js';

/** How busy a node says that it is. */
const LOAD = 'load';

/** What this package takes, as headers of a packet channel. */
export function acceptsHeaders(): Record<string, string> {
  return { [HEADER.accepts]: LOAD };
}

/** True when the peer takes what nodes say of their load. */
export function acceptsLoad(headers: HeaderBlock): boolean {
  const kinds = headerOf(headers, HEADER.accepts);
  return kinds !== undefined && kinds.split(',').some((kind) => kind.trim() === LOAD);
}
