/** How peers reach a node: by its port and its record, or by the channels that it opens itself. */
import type { Http2SecureServer, Http2Server } from 'node:http2';
import type { NodeRecord } from '../registry/node-record.js';
import type { Drained } from './drain.js';

/** Each step is taken once, in this order; `withdraw` and `close` also without those before them. */
export interface Reach {
  /** Gets ready to answer. Rejects with a `MeshError`. */
  open(): Promise<void>;
  /** Lets peers know that the node is there. Rejects with a `MeshError`. */
  announce(): Promise<void>;
  /** Lets no further peers know. */
  withdraw(): Promise<void>;
  /** Takes no new connections, and says what has to end before `close`; `undefined` when it was never open. */
  beginDrain(): Drained | undefined;
  close(): Promise<void>;
  /** True while peers can know of the node. */
  readonly announced: boolean;
  /** The record under which the node is found. Throws where there is none. */
  readonly record: NodeRecord;
  /** The server of node:http2 underneath; `undefined` while there is none. */
  readonly httpServer: Http2Server | Http2SecureServer | undefined;
}
