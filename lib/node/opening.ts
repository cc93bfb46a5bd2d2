/** What both sides say in the headers when a channel opens. */
import { randomUUID } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http2';
import {
  CHANNEL_PATH,
  HEADER,
  headerOf,
  metadataOf,
  PROTOCOL_VERSION,
  type HeaderBlock,
} from '../protocol/headers.js';
import { readMetadata, type Metadata } from '../protocol/packet.js';
import type { ResolvedOptions } from './mesh-options.js';

/** Who this node is. */
export function identityHeaders({ service, nodeId }: ResolvedOptions): OutgoingHttpHeaders {
  return { [HEADER.serviceName]: service, [HEADER.nodeId]: nodeId, [HEADER.version]: PROTOCOL_VERSION };
}

/** The request that opens a channel. */
export function openingHeaders(options: ResolvedOptions): OutgoingHttpHeaders {
  return { ':method': 'POST', ':path': CHANNEL_PATH, ...identityHeaders(options) };
}

/** What the peer's headers say beside who it is. */
export interface Opening {
  /** The peer's `x-session-id`, or one made for it. */
  readonly sessionId: string;
  readonly metadata: Metadata;
}

export function openingOf(headers: HeaderBlock): Opening {
  return { sessionId: headerOf(headers, HEADER.sessionId) ?? randomUUID(), metadata: metadataOf(headers) };
}

/** The metadata of a call stream that plain headers cannot carry. */
export function readHeaderMetadata(headers: HeaderBlock): Metadata | undefined {
  const text = headerOf(headers, HEADER.metadata);
  if (text === undefined) return undefined;
  try {
    return readMetadata(JSON.parse(decodeURIComponent(text)));
  } catch {
    // Not well-formed: as if there were none, like metadata of the wrong shape in a packet.
    return undefined;
  }
}

/** The remaining budget of a call stream in ms; `undefined` when there is none. */
export function readHeaderTimeoutMs(headers: HeaderBlock): number | undefined {
  const text = headerOf(headers, HEADER.timeout);
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
