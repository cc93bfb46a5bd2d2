/** Large packets of one packet channel: each has a stream to itself, so that none delays the small ones. */
import type { Codec } from '../protocol/codec.js';
import { exceeds, payloadBytes, type FramePayload } from '../protocol/frame.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { FrameStream } from './frame-stream.js';
import { LargeFetch, type LargeFetchEvents } from './large-fetch.js';
import { LargeSend, type LargeSendEvents } from './large-send.js';
import type { PeerStreams } from './peer-streams.js';

/** What the messages need of their channel. */
export interface LargeMessagesHost {
  readonly frames: FrameStream;
  readonly codec: Codec;
  readonly limits: WireLimits;
  readonly streams: PeerStreams;
  /** One has come or gone. */
  checkIdle(): void;
}

export class LargeMessages {
  private readonly sends = new Set<LargeSend>();
  private readonly fetches = new Set<LargeFetch>();
  private pendingBytes = 0;

  constructor(
    private readonly host: LargeMessagesHost,
    /** Packets over this many bytes are large. */
    private readonly thresholdBytes: number,
  ) {}

  /** Messages that are on their way, out and in. */
  get size(): number {
    return this.sends.size + this.fetches.size;
  }

  /** True for what must not go onto the packet channel. */
  isLarge(payload: FramePayload): boolean {
    return exceeds(payload, this.thresholdBytes);
  }

  /**
   * Sends a packet on a stream of its own: a request or an event, or with a token the packet for which that token stands.
   * `undefined` when the session gives no more streams: then it may take the packet channel. Throws a `MeshError` (`not-sent`).
   */
  send(payload: FramePayload, token: string | undefined, events: LargeSendEvents): LargeSend | undefined {
    const { frames, limits, streams } = this.host;
    this.check(payload);
    const send = new LargeSend(payload, events, limits.incompleteFrameTimeoutMs, frames.name);
    const forget = streams.offer(token, {
      use: (stream) => send.start(stream),
      fail: (error) => send.fail(error),
    });
    if (forget === undefined) return undefined;
    send.forget = forget;
    this.sends.add(send);
    this.pendingBytes += send.bytes;
    send.onOver = () => {
      this.sends.delete(send);
      this.pendingBytes -= send.bytes;
      this.host.checkIdle();
    };
    return send;
  }

  /** Takes the packet for which `token` stands. */
  fetch(token: string, events: LargeFetchEvents): LargeFetch {
    const { streams } = this.host;
    const fetch = this.fetchOf(events);
    fetch.forget = streams.fetch(token, {
      use: (stream) => fetch.start(stream),
      fail: (error) => fetch.fail(error),
    });
    return fetch;
  }

  /** {@link fetch} of what comes without a token. */
  fetchOf(events: LargeFetchEvents): LargeFetch {
    const { frames, limits, codec } = this.host;
    const fetch = new LargeFetch(events, limits, frames.name, !codec.keepsPayload);
    this.fetches.add(fetch);
    fetch.onOver = () => {
      this.fetches.delete(fetch);
      this.host.checkIdle();
    };
    return fetch;
  }

  /** The channel is gone, and they go with it. */
  close(reason: MeshError): void {
    for (const send of [...this.sends]) send.fail(reason);
    for (const fetch of [...this.fetches]) fetch.fail(reason);
  }

  private check(payload: FramePayload): void {
    const { frames, limits } = this.host;
    if (exceeds(payload, limits.maxFrameBytes)) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `a message of ${payloadBytes(payload)} bytes is over limits.maxFrameBytes (${limits.maxFrameBytes})`,
        { delivery: 'not-sent' },
      );
    }
    const waiting = this.pendingBytes + frames.pendingBytes;
    if (waiting > limits.maxPendingBytes) {
      throw new MeshError(
        'RESOURCE_EXHAUSTED',
        `${frames.name} does not read: ${waiting} bytes wait, over limits.maxPendingBytes (${limits.maxPendingBytes})`,
        { delivery: 'not-sent' },
      );
    }
    if (!frames.writable)
      throw new MeshError('UNAVAILABLE', `${frames.name} is closed`, { delivery: 'not-sent' });
  }
}

/** A message that is larger than this node takes. */
export function overLimit(bytes: number, { maxFrameBytes }: WireLimits): MeshError {
  return new MeshError(
    'RESOURCE_EXHAUSTED',
    `a message of ${bytes} bytes is over limits.maxFrameBytes (${maxFrameBytes}) of the receiver`,
    { delivery: 'refused', details: { bytes, maxFrameBytes } },
  );
}
