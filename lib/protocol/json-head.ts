/** What the first bytes of a packet in JSON tell, when the whole of it is too long to be read. */
import { isPacketId, type PacketId, type PeekedPacket } from './packet.js';

// Every sender of this project writes the id first and what tells the kind next, so a frame too long to be read still
// tells whose it was. A head that leaves a doubt is not guessed at: that could fail a call that is well.
const LEADING_ID = /^\s*\{\s*"id"\s*:\s*(-?\d{1,16}|"(?:[^"\\]|\\.){1,256}")\s*,\s*/;
const REQUEST_NEXT = /^(?:"event"\s*:\s*true\s*,\s*)?"pattern"\s*:/;
const RESPONSE_NEXT = /^"(?:response|err|isDisposed)"\s*:/;

/** See `Codec.peekPacket`. */
export function peekPacket(head: Buffer): PeekedPacket | undefined {
  const text = head.toString('utf8');
  const match = LEADING_ID.exec(text);
  if (match?.[1] === undefined) return undefined;
  const next = text.slice(match[0].length);
  const isRequest = REQUEST_NEXT.test(next);
  if (!isRequest && !RESPONSE_NEXT.test(next)) return undefined;
  const id = parseId(match[1]);
  return id === undefined ? undefined : { id, isRequest };
}

/** See `Codec.isEventHead`. */
export function isEventHead(head: Buffer): boolean {
  return /^\s*\{\s*"pattern"\s*:/.test(head.toString('utf8'));
}

/** The head is not known to be JSON: `007`, `"\x"` or a raw line break in an id are not. */
function parseId(text: string): PacketId | undefined {
  try {
    const id: unknown = JSON.parse(text);
    return isPacketId(id) ? id : undefined;
  } catch {
    return undefined;
  }
}
