/** The node at the other end of a channel, as it described itself. */
import type { IncomingHttpHeaders } from 'node:http2';
import { acceptsLoad } from '../protocol/accepts.js';
import { HEADER, headerOf } from '../protocol/headers.js';

export interface Peer {
  /** The name of its service; empty when it did not say. */
  readonly service: string;
  /** Its node id; `undefined` for a peer that knows part 1 of the protocol only. */
  readonly nodeId: string | undefined;
  /** `host:port` of the connection. */
  readonly address: string;
  /** True for a peer that knows part 1 only: nothing of part 2 is ever sent to it. */
  readonly plain: boolean;
  /** False for a node that opens no port: it is reached over the channel that it has opened. */
  readonly listens: boolean;
  /** True for a peer that takes what this node says of its load. */
  readonly takesLoad: boolean;
}

/** Reads what a peer said in its headers. */
export function peerOf(headers: IncomingHttpHeaders, address: string, service?: string): Peer {
  const plain = headerOf(headers, HEADER.version) === undefined;
  return {
    service: headerOf(headers, HEADER.serviceName) ?? service ?? '',
    nodeId: headerOf(headers, HEADER.nodeId),
    address,
    plain,
    listens: headerOf(headers, HEADER.listen) !== 'false',
    takesLoad: !plain && acceptsLoad(headers),
  };
}
