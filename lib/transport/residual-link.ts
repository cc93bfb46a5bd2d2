/** The link of a default raw channel: the frames on a packet channel that are no packets. */
import type { FrameStream } from './frame-stream.js';
import type { Peer } from './peer.js';
import type { RawLink } from './raw-channel.js';

/** What the link needs of its packet channel. */
export interface ResidualHost {
  readonly frames: FrameStream;
  readonly peer: Peer;
  onIdle(listener: () => void): void;
}

/** Calls may share the stream, so only the channel of a part 1 peer ends with its raw half. */
export function residualLinkOf(channel: ResidualHost): RawLink {
  const { frames, peer } = channel;
  return {
    send: (payload) => frames.send(payload),
    get congested() {
      return frames.congested;
    },
    ready: () => frames.ready(),
    pause: () => frames.pause(),
    resume: () => frames.resume(),
    end: () => {
      if (peer.plain) channel.onIdle(() => frames.end());
    },
    destroy: (error) => {
      if (peer.plain) frames.destroy(error);
    },
  };
}
