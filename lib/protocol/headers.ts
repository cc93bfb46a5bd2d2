/** The header names of the wire, and what a peer says of itself in them. */
import type { Metadata } from './packet.js';

/** `:path` of every channel. */
export const CHANNEL_PATH = '/channel';
/** The version of part 2 of the protocol that this package speaks. */
export const PROTOCOL_VERSION = '1';
/** The name under which the default raw channel is asked for. */
export const DEFAULT_CHANNEL = 'default';

export const HEADER = {
  serviceName: 'x-service-name',
  sessionId: 'x-session-id',
  nodeId: 'x-mesh-node-id',
  version: 'x-mesh-version',
  /** `false`: the sender has no port, and is a node of its service for as long as the channel lives. */
  listen: 'x-mesh-listen',
  channel: 'x-mesh-channel',
  pattern: 'x-mesh-pattern',
  /** On a call stream, `value`: the only frame of the caller is the data, and not the first of a stream of input. */
  input: 'x-mesh-input',
  /** On a call stream: the remaining budget in milliseconds. */
  timeout: 'x-mesh-timeout',
  /** On a call stream: metadata that plain headers cannot carry, as percent-encoded JSON. */
  metadata: 'x-mesh-metadata',
  open: 'x-mesh-open',
  /** The codec that the request offers, and the answer takes; without it JSON. */
  codec: 'x-mesh-codec',
  /** The stream carries one large packet: `request`, or the token that stands in the place of an answer's packet. */
  packet: 'x-mesh-packet',
  /** On a packet channel: the kinds of packets beyond those of version 1 that the sender takes. */
  accepts: 'x-mesh-accepts',
} as const;

/** The trailers that end the callee's half of a call stream. */
export const TRAILER = {
  /** `OK`, or an error code. */
  status: 'mesh-status',
  /** The error as in a response packet: JSON, ASCII only. */
  error: 'mesh-error',
  /** Names the line of the callee's log that tells what the error hides. */
  errorId: 'mesh-error-id',
} as const;

const OWN_HEADERS: ReadonlySet<string> = new Set([
  HEADER.serviceName,
  HEADER.sessionId,
  ...Object.values(TRAILER),
]);
/** Left out of metadata: what HTTP itself needs. */
const HTTP_HEADERS: ReadonlySet<string> = new Set([
  'host',
  'date',
  'content-type',
  'content-length',
  'te',
  'accept-encoding',
]);

/** Headers as HTTP/2 libraries give them. */
export type HeaderBlock = Readonly<Record<string, string | readonly string[] | number | undefined>>;

/** The first value of a header, or `undefined` when it is missing or empty. */
export function headerOf(headers: HeaderBlock, name: string): string | undefined {
  const value = headers[name];
  const first = typeof value === 'object' ? value[0] : value;
  return first === undefined || first === '' ? undefined : String(first);
}

/** All headers of the mesh beyond part 1 begin with this; those of later versions are no metadata either. */
const OWN_PREFIX = 'x-mesh-';

/** Every header that is neither HTTP's nor the mesh's own is metadata (protocol, part 1). */
export function metadataOf(headers: HeaderBlock): Metadata {
  const metadata: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    if (name.startsWith(':') || isReserved(name)) continue;
    const value = headers[name];
    if (value !== undefined) metadata[name] = Array.isArray(value) ? value.join(', ') : String(value);
  }
  return metadata;
}

/** Belong to one HTTP/1 connection; HTTP/2 forbids them (RFC 9113, 8.2.2). */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** The reason why `metadata` cannot travel as headers, or `undefined`. */
export function metadataFault(metadata: Metadata): string | undefined {
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) {
      return `metadata key ${JSON.stringify(name)} is no HTTP/2 header name (lower-case letters, digits, "-" and "_")`;
    }
    if (isReserved(name)) return `metadata key "${name}" is reserved; give it another name`;
    if (typeof value !== 'string' || !/^[\t\x20-\x7e]*$/.test(value)) {
      return `metadata value of "${name}" must be printable ASCII to travel as a header`;
    }
    // HTTP/2 libraries drop such a header without a word (RFC 9113, 8.2.1).
    if (/^[\t ]|[\t ]$/.test(value)) {
      return `metadata value of "${name}" must not begin or end with white space to travel as a header`;
    }
  }
  return undefined;
}

function isReserved(name: string): boolean {
  return (
    name.startsWith(OWN_PREFIX) ||
    OWN_HEADERS.has(name) ||
    HTTP_HEADERS.has(name) ||
    CONNECTION_HEADERS.has(name) ||
    name === '__proto__'
  );
}
