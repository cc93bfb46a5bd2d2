/** What a handler can ask about the call, event or channel that it handles. */
import { BaseRpcContext } from '@nestjs/microservices';
import type { Metadata } from '../protocol/packet.js';
import type { Peer } from '../transport/peer.js';
import type { MeshClientProxy } from './mesh.client-proxy.js';

/** Where a context has its answers from. */
export interface ContextSource {
  readonly peer: Peer;
  readonly sessionId: string;
  readonly metadata: Metadata | undefined;
  /** On the clock of `performance.now()`. */
  readonly deadline: number | undefined;
  readonly signal: AbortSignal;
  readonly client: MeshClientProxy;
}

/** The RPC context of the mesh: inject it with `@Ctx()`. */
export class MeshContext extends BaseRpcContext<[ContextSource, string]> {
  /** The pattern by which the handler was found; for a channel, its name. */
  getPattern(): string {
    return this.args[1];
  }

  /** What the caller sent beside its data, the request headers of its channel included; `undefined` when there is nothing. */
  getMetadata(): Metadata | undefined {
    return this.args[0].metadata;
  }

  /** The node that called. */
  get peer(): Peer {
    return this.args[0].peer;
  }

  /** The session id of the channel that the call came in on. */
  get sessionId(): string {
    return this.args[0].sessionId;
  }

  /** When the caller gives up, in epoch milliseconds; `undefined` when it waits for ever. */
  get deadline(): number | undefined {
    const { deadline } = this.args[0];
    return deadline === undefined ? undefined : Math.round(Date.now() + deadline - performance.now());
  }

  /** Aborts when the caller cancels, gives up or is lost. Give it to `fetch`, to queries, to everything that can stop. */
  get signal(): AbortSignal {
    return this.args[0].signal;
  }

  /**
   * A client bound to the calling node, over the channel that the call came in on: for reverse calls. A caller that holds no
   * channel is called by its name; one without a name, as over plain HTTP/2, cannot be called back: throws a `MeshError`
   * (`FAILED_PRECONDITION`).
   */
  get client(): MeshClientProxy {
    return this.args[0].client;
  }
}
