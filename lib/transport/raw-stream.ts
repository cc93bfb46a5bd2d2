/** A raw channel on a stream of its own. */
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { FrameStream } from './frame-stream.js';
import { RawChannel } from './raw-channel.js';

/** Begins to read `frames` as raw values. `onFault` is told, once, of messages that had to be left out. */
export function startRawChannel(
  frames: FrameStream,
  onFault: (message: string) => void,
  codec: Codec = JSON_CODEC,
): RawChannel {
  const channel = new RawChannel(frames, codec);
  let told = false;
  const fault = (message: string): void => {
    if (!told) onFault(`${frames.name}: ${message}; it is ignored`);
    told = true;
  };
  frames.start({
    onFrame(payload) {
      let value: unknown;
      try {
        value = codec.decode(payload);
      } catch (error) {
        fault(MeshError.from(error).rawMessage);
        return;
      }
      channel.onValue(value, payload.length);
    },
    onOversize(declaredBytes) {
      // A value that is missing from a stream of values is a loss, which the reader must see.
      frames.destroy(
        new MeshError(
          'RESOURCE_EXHAUSTED',
          `a message of ${declaredBytes} bytes is over limits.maxFrameBytes`,
        ),
      );
    },
    onEnd: () => channel.onEnd(),
    onClose: (error) => channel.onClose(error),
  });
  return channel;
}
