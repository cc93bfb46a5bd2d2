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

/** What an acknowledgement of an event says: that it was given to its handlers, or that all of them have ended well. */
export type EventAck = 'received' | 'handled';

/** Take note; with an `id` and `event: true` it asks for an acknowledgement. */
export interface EventPacket {
  id?: PacketId;
  event?: true;
  pattern: unknown;
  data?: unknown;
  metadata?: unknown;
  /** The remaining budget for the acknowledgement in milliseconds. */
  timeout?: unknown;
  /** `'handled'`, or left out for `'received'`; others are read as `'received'`. */
  ack?: unknown;
}

/** One value of an answer, its error, or its end. */
export interface ResponsePacket {
  id: PacketId;
  response?: unknown;
  err?: unknown;
  isDisposed?: boolean;
  /** Beside an `err` that hides what was thrown: names the line of the callee's log that tells it. */
  errorId?: string;
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

/** The next packet of the answer `id` comes on a stream of its own; with `err` it does not come, and that takes its place. */
export interface PlaceholderPacket {
  id: PacketId;
  open: string;
  err?: unknown;
  isDisposed?: boolean;
  status?: string;
}

/** No new requests on this channel, please. */
export interface DrainPacket {
  drain: true;
}

/** What a node says of itself to those who choose between it and others. */
export interface LoadReport {
  /** Calls of all its callers that it is answering, those that wait for their turn included. */
  readonly open: number;
  /** How late its event loop is, in ms: the mean since the last report. */
  readonly delayMs: number;
}

/** This is how busy I am. */
export interface LoadPacket {
  load: LoadReport;
}

export type Packet =
  | RequestPacket
  | EventPacket
  | ResponsePacket
  | PlaceholderPacket
  | CancelPacket
  | OpenPacket
  | DrainPacket
  | LoadPacket;

/** The kinds of packets. */
export type PacketKind =
  'request' | 'event' | 'response' | 'placeholder' | 'cancel' | 'open' | 'drain' | 'load';

/** What is known of a packet that is too long to be read. */
export interface PeekedPacket {
  readonly id: PacketId;
  /** True for a request, and for an event to acknowledge; false for a response. */
  readonly isRequest: boolean;
}

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
    const { response, err, isDisposed, cancel, open } = value as Record<string, unknown>;
    if (cancel === true) return 'cancel';
    if (typeof open === 'string') return 'placeholder';
    return response !== undefined || err !== undefined || isDisposed !== undefined ? 'response' : undefined;
  }
  if (id !== undefined) return undefined;
  if ((value as DrainPacket).drain === true) return 'drain';
  if (typeof (value as OpenPacket).open === 'string') return 'open';
  const { load } = value as Partial<LoadPacket>;
  return typeof load === 'object' && load !== null && !Array.isArray(load) ? 'load' : undefined;
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

/** What a load packet says, or `undefined` when one of its numbers is not finite, or below 0. */
export function readLoad({ load }: LoadPacket): LoadReport | undefined {
  const { open, delayMs } = load;
  return isAmount(open) && isAmount(delayMs) ? { open, delayMs } : undefined;
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value);
}
