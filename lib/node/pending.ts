/** What waits for a node: calls, and everything else by a promise. */
import type { MeshErrorCode } from '../protocol/error-code.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { CallCarrier, OutboundCall } from '../transport/outbound-call.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import type { NodeWish, Waiter, WaitingRoom } from './waiter.js';
import type { RemoteNode } from './remote-node.js';

/** A call that waits within its own time limit; while it waits, this is its carrier. */
export class PendingCall implements Waiter, CallCarrier {
  readonly anyNode = false;
  readonly peerNodeId = undefined;

  constructor(
    private readonly call: OutboundCall,
    readonly wish: NodeWish,
    private readonly directory: WaitingRoom,
  ) {}

  /** Queues the call for the node that was picked, or for any when there was none. */
  wait(picked: RemoteNode | undefined): void {
    const { call } = this;
    call.waited = true;
    call.carrier = this;
    call.describeWait = () => this.directory.describe(this.wish);
    this.directory.wait(this, picked);
  }

  take(node: RemoteNode, channel: PacketChannel | undefined): void {
    if (!this.call.open || channel === undefined) return;
    this.call.placeAt(node.place);
    channel.request(this.call);
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

/** Where calls get their nodes. */
export interface CallPlaces extends WaitingRoom {
  pickForCall(wish: NodeWish): RemoteNode | undefined;
}

/** Gives a call to a node: at once, or as soon as there is one. */
export function placeCall(call: OutboundCall, places: CallPlaces, wish: NodeWish): void {
  const node = places.pickForCall(wish);
  const channel = node?.channel;
  if (node === undefined || channel === undefined) new PendingCall(call, wish, places).wait(node);
  else {
    call.placeAt(node.place);
    channel.request(call);
  }
}

/** A node that was waited for. */
export interface FoundNode {
  readonly node: RemoteNode;
  readonly channel: PacketChannel | undefined;
}

/** What is waited for, and for how long. */
export interface NodeWait {
  /** What wants the node, for the error: a route, a channel. */
  readonly what: string;
  /** 0 = for ever. */
  readonly timeoutMs: number;
  /** True when a node without a packet channel will do. */
  readonly anyNode?: boolean | undefined;
  /** Has the channel at once, before what has begun to wait later. */
  readonly use?: ((channel: PacketChannel) => void) | undefined;
  /** Aborting it ends the waiting. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits for a node; `picked` is the one whose turn it is. Rejects with a `MeshError` (`not-sent`): `UNAVAILABLE` after
 * `timeoutMs`, saying what was found, or `CANCELLED` when the signal aborts.
 */
export function waitForNode(
  directory: WaitingRoom,
  wish: NodeWish,
  picked: RemoteNode | undefined,
  { what, timeoutMs, anyNode = false, use, signal }: NodeWait,
): Promise<FoundNode> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const giveUp = (code: MeshErrorCode, message: string, cause?: unknown): void => {
      end();
      directory.leave(waiter);
      reject(
        new MeshError(code, `'${what}' could not be sent${message}`, {
          delivery: 'not-sent',
          service: directory.service,
          nodeId: wish.nodeId,
          cause,
        }),
      );
    };
    const onTimeout = (): void =>
      giveUp('UNAVAILABLE', ` within ${timeoutMs} ms (timeoutMs): ${directory.describe(wish)}`);
    const onAbort = (): void => giveUp('CANCELLED', ': its signal was aborted', signal?.reason);
    const waiter: Waiter = {
      wish,
      anyNode,
      take(node, channel) {
        end();
        try {
          if (channel !== undefined) use?.(channel);
          resolve({ node, channel });
        } catch (error) {
          reject(MeshError.from(error, 'INTERNAL', { delivery: 'not-sent' }));
        }
      },
      fail(error) {
        end();
        reject(error.at({ service: directory.service }));
      },
    };
    const timer = timeoutMs === 0 ? undefined : setTimeout(onTimeout, timeoutMs);
    if (signal?.aborted === true) onAbort();
    else {
      signal?.addEventListener('abort', onAbort, { once: true });
      directory.wait(waiter, picked);
    }
  });
}
