/** Where streams of their own go: to a node of a service, or back to the peer of a packet channel. */
import { constants, type OutgoingHttpHeaders } from 'node:http2';
import { MeshError, type MeshErrorOrigin } from '../protocol/mesh-error.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { resetStream } from '../transport/reset.js';
import type { AcceptedStream } from '../transport/stream-opening.js';
import type { Directory } from './directory.js';
import type { NodeWish } from './waiter.js';
import { keyOf } from './peer-status.js';
import { waitForNode, type NodeWait } from './pending.js';

/** A stream that a node has accepted. */
export interface OpenedStream extends AcceptedStream {
  readonly nodeId: string | undefined;
  readonly address: string;
  /** Under which it is counted. */
  readonly peerKey: string;
  /** What the waiting has left of the time limit, in ms; 0 = no limit. */
  readonly leftMs: number;
}

/** Rejects with a `MeshError`; `not-sent` or `refused`. */
export interface StreamTarget {
  readonly service: string;
  open(wait: NodeWait, headers: (leftMs: number) => OutgoingHttpHeaders): Promise<OpenedStream>;
}

/** A node of a service; one that cannot be reached, does not answer or shuts down is passed over for another, as long as there is time. */
export class NodeStreams implements StreamTarget {
  constructor(
    private readonly directory: Directory,
    private readonly wish: NodeWish,
  ) {}

  get service(): string {
    return this.directory.service;
  }

  async open(wait: NodeWait, headers: (leftMs: number) => OutgoingHttpHeaders): Promise<OpenedStream> {
    const { directory, wish, service } = this;
    const { timeoutMs, what: pattern } = wait;
    const began = performance.now();
    const left = (): number =>
      timeoutMs === 0 ? 0 : Math.max(1, Math.ceil(timeoutMs - (performance.now() - began)));
    let wanted = wish;
    for (;;) {
      const { node, channel } = await waitForNode(directory, wanted, directory.pick(wanted), {
        ...wait,
        timeoutMs: left(),
      });
      const { id: nodeId, address } = node;
      const origin = { service, nodeId, pattern };
      if (channel !== undefined) refuseUnknown(channel, wait, origin);
      const leftMs = left();
      try {
        const accepted = await node.openStream(headers(leftMs), wish.back);
        return { ...accepted, nodeId, address, leftMs, peerKey: nodeId };
      } catch (error) {
        const failure = MeshError.from(error).at(origin);
        if (failure.code !== 'UNAVAILABLE' || failure.delivery === 'unknown') throw failure;
        if (failure.delivery === 'refused') {
          if (wish.nodeId !== undefined) throw failure;
          // It shuts down, and its drain may still be on its way.
          if (node.available) node.passOver(failure);
        } else if (node.available) {
          // It does not answer, and that is not known of it yet: each other node is asked once.
          const avoid = new Set(wanted.avoid);
          const isOnly = wish.nodeId !== undefined || directory.known.length < 2;
          if (isOnly || avoid.has(nodeId)) throw failure;
          wanted = { ...wish, avoid: avoid.add(nodeId) };
        }
      }
    }
  }
}

/** The peer of a packet channel: for reverse calls. */
export class ChannelStreams implements StreamTarget {
  constructor(
    private readonly channel: PacketChannel,
    private readonly connectTimeoutMs: number,
  ) {}

  get service(): string {
    return this.channel.peer.service;
  }

  async open(wait: NodeWait, headers: (leftMs: number) => OutgoingHttpHeaders): Promise<OpenedStream> {
    const { channel, service, connectTimeoutMs } = this;
    const { nodeId, address } = channel.peer;
    const { timeoutMs, what: pattern, signal } = wait;
    const origin = { service, nodeId, pattern };
    refuseUnknown(channel, wait, origin);
    const limitMs = timeoutMs === 0 ? connectTimeoutMs : Math.min(timeoutMs, connectTimeoutMs);
    try {
      const accepted = await unlessAborted(channel.openStream(headers(timeoutMs), limitMs), signal);
      return { ...accepted, nodeId, address, leftMs: timeoutMs, peerKey: keyOf(channel.peer) };
    } catch (error) {
      throw MeshError.from(error).at(origin);
    }
  }
}

/** Rejects with `CANCELLED` as soon as the signal aborts; the stream that comes too late is reset. */
function unlessAborted(
  opening: Promise<AcceptedStream>,
  signal: AbortSignal | undefined,
): Promise<AcceptedStream> {
  if (signal === undefined) return opening;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(
        new MeshError('CANCELLED', 'the signal of the call was aborted', {
          delivery: 'not-sent',
          cause: signal.reason,
        }),
      );
      opening.then(({ stream }) => {
        stream.on('error', ignore);
        resetStream(stream, constants.NGHTTP2_CANCEL);
      }, ignore);
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    opening.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Raw channels are known to every peer, call streams are not. Throws a `MeshError`. */
function refuseUnknown({ peer }: PacketChannel, { anyNode }: NodeWait, origin: MeshErrorOrigin): void {
  if (!peer.plain || anyNode === true) return;
  throw new MeshError('UNIMPLEMENTED', 'the peer knows no call streams', { ...origin, delivery: 'refused' });
}

function ignore(): void {
  // Nobody waits for the stream any more.
}
