/** Packets: the typed messages on a packet channel, in Nest's own words (`pattern`, `data`, `id`, `response`, `err`, `isDisposed`). */

/** Unique among the sender's open calls on one channel. */
export type PacketId = string | number;

/** Out-of-band values of a call, an event or a channel. */
export type Metadata = Readonly<Record<string, string>>;

/** Please answer. `timeout` is the remaining budget in milliseconds. */
export interface RequestPacket {
  id: PacketId;
  pattern: unknown;
  data?: unknown;
  metadata?: unknown;
  timeout?: unknown;
}

/** Take note; with an `id` and `event: true` it asks for an acknowledgement. */
export interface EventPacket {
  id?: PacketId;
  event?: true;
  pattern: unknown;
  data?: unknown;
  metadata?: unknown;
}

/** One value of an answer, its error, or its end. */
export interface ResponsePacket {
  id: PacketId;
  response?: unknown;
  err?: unknown;
  isDisposed?: boolean;
  /** `'error'` beside an `err`, as Nest's transports write it. */
  status?: string;
}

/** The caller no longer wants the answer. */
export interface CancelPacket {
  id: PacketId;
  cancel: true;
}

/** Please open a stream for me. */
export interface OpenPacket {
  open: string;
  headers?: unknown;
}

/** No new requests on this channel, please. */
export interface DrainPacket {
  drain: true;
}

export type Packet = RequestPacket | EventPacket | ResponsePacket | CancelPacket | OpenPacket | DrainPacket;

/** The kinds of packets. */
export type PacketKind = 'request' | 'event' | 'response' | 'cancel' | 'open' | 'drain';

const MAX_ID_LENGTH = 256;

/** Which packet a decoded value is, or `undefined` for a value that is none (which goes to the default raw handler). */
export function packetKind(value: unknown): PacketKind | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { id, pattern } = value as Record<string, unknown>;
  if (pattern !== undefined && pattern !== null) {
    if (!isPattern(pattern)) return undefined;
    if (id === undefined) return 'event';
    if (!isPacketId(id)) return undefined;
    return (value as EventPacket).event === true ? 'event' : 'request';
  }
  if (isPacketId(id)) {
    const { response, err, isDisposed, cancel } = value as Record<string, unknown>;
    if (cancel === true) return 'cancel';
    return response !== undefined || err !== undefined || isDisposed !== undefined ? 'response' : undefined;
  }
  if (id !== undefined) return undefined;
  if ((value as DrainPacket).drain === true) return 'drain';
  if (typeof (value as OpenPacket).open === 'string') return 'open';
  return undefined;
}

/** True for what may stand as a packet's `id`. */
export function isPacketId(id: unknown): id is PacketId {
  return typeof id === 'number'
    ? Number.isFinite(id)
    : typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH;
}

function isPattern(pattern: unknown): boolean {
  return typeof pattern === 'string' || typeof pattern === 'object' || typeof pattern === 'number';
}

/** Metadata as received: values that are numbers or booleans become strings, everything else that is no string is left out. */
export function readMetadata(value: unknown): Metadata | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const metadata: Record<string, string> = {};
  for (const [key, entry] of Object.entries(value)) {
    if (key === '__proto__') continue;
    if (typeof entry === 'string') metadata[key] = entry;
    else if (typeof entry === 'number' || typeof entry === 'boolean') metadata[key] = String(entry);
  }
  return metadata;
}

/** The remaining budget in milliseconds, or `undefined` when the value is not a number of at least 0. */
export function readTimeoutMs(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value) ? value : undefined;
}

// The id is written first by every sender of this project, so a frame too long to be read still tells whose it was.
const LEADING_ID = /^\s*\{\s*"id"\s*:\s*(-?\d{1,16}(?=\s*[,}])|"(?:[^"\\]|\\.){1,256}")/;

/** The `id` (and whether a `pattern` follows, so that it is a request) told from the first bytes of a packet. */
export function peekPacket(head: Buffer): { id: PacketId; isRequest: boolean } | undefined {
  const text = head.toString('utf8');
  const match = LEADING_ID.exec(text);
  if (match?.[1] === undefined) return undefined;
  const id = JSON.parse(match[1]) as PacketId;
  return {
    id,
    isRequest: /^\s*,\s*"(?:event"\s*:\s*true\s*,\s*"|)pattern"/.test(text.slice(match[0].length)),
  };
}
