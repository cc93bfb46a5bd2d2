/** The options of a client and of the raw channels that it opens. */
import type { MeshOptions } from '../node/mesh-options.js';
import type { ClientSerialization } from './serialization.js';
import type { Metadata } from '../protocol/packet.js';

/** The options of a client that is made by hand or by `ClientsModule`. */
export interface MeshClientOptions extends MeshOptions, ClientSerialization {
  /** The service that `send` and `emit` go to. Without it say where each time: `client.to('orders').send(...)`. */
  readonly to?: string | undefined;
}

/** How a raw channel is opened. */
export interface MeshChannelOptions {
  /** Sent as headers: names in lower case, values printable ASCII. */
  readonly metadata?: Metadata | undefined;
  /** @default a new UUID */
  readonly sessionId?: string | undefined;
}
