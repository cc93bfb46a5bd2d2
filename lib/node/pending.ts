/** What waits for a node: calls, and everything else by a promise. */
import { MeshError } from '../protocol/mesh-error.js';
import type { CallCarrier, OutboundCall } from '../transport/outbound-call.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { Directory, NodeWish, Waiter } from './directory.js';
import type { RemoteNode } from './remote-node.js';

/** A call that waits within its own time limit; while it waits, this is its carrier. */
export class PendingCall implements Waiter, CallCarrier {
  readonly anyNode = false;
  readonly peerNodeId = undefined;

  constructor(
    private readonly call: OutboundCall,
    readonly wish: NodeWish,
    private readonly directory: Directory,
  ) {}

  /** Queues the call for the node that was picked, or for any when there was none. */
  wait(picked: RemoteNode | undefined): void {
    const { call } = this;
    call.waited = true;
    call.carrier = this;
    call.describeWait = () => this.directory.describe(this.wish);
    this.directory.wait(this, picked);
  }

  take(_node: RemoteNode, channel: PacketChannel | undefined): void {
    if (this.call.open) channel?.request(this.call);
  }

  fail(error: MeshError): void {
    this.call.fail(error);
  }

  release(): void {
    this.directory.leave(this);
  }

  wasSent(): boolean {
    return false;
  }
}

/** A node that was waited for. */
export interface FoundNode {
  readonly node: RemoteNode;
  readonly channel: PacketChannel | undefined;
}

/**
 * Waits for a node: with a packet channel, or, when `anyNode`, as soon as one is known. Rejects with a `MeshError`
 * (`UNAVAILABLE`, `not-sent`) after `timeoutMs` (0 = never) that says what was found. `what` names what wants it.
 * `use` has the channel at once, before what has begun to wait later.
 */
export function waitForNode(
  directory: Directory,
  wish: NodeWish,
  picked: RemoteNode | undefined,
  timeoutMs: number,
  what: string,
  anyNode: boolean,
  use?: (channel: PacketChannel) => void,
): Promise<FoundNode> {
  return new Promise((resolve, reject) => {
    const waiter: Waiter = {
      wish,
      anyNode,
      take(node, channel) {
        clearTimeout(timer);
        try {
          if (channel !== undefined) use?.(channel);
          resolve({ node, channel });
        } catch (error) {
          reject(MeshError.from(error, 'INTERNAL', { delivery: 'not-sent' }));
        }
      },
      fail(error) {
        clearTimeout(timer);
        reject(error.at({ service: directory.service }));
      },
    };
    const timer = timeoutMs === 0 ? undefined : setTimeout(giveUp, timeoutMs);
    directory.wait(waiter, picked);

    function giveUp(): void {
      directory.leave(waiter);
      reject(
        new MeshError(
          'UNAVAILABLE',
          `'${what}' could not be sent within ${timeoutMs} ms (timeoutMs): ${directory.describe(wish)}`,
          {
            delivery: 'not-sent',
            service: directory.service,
            nodeId: wish.nodeId,
          },
        ),
      );
    }
  });
}
