/** A raw channel on a stream of its own. */
import { randomUUID } from 'node:crypto';
import { errorTrailers, readTrailers } from '../protocol/call-status.js';
import { JSON_CODEC, type Codec } from '../protocol/codec.js';
import { tagError } from '../protocol/error-id.js';
import { headerOf, TRAILER, type HeaderBlock } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { FrameStream } from './frame-stream.js';
import { RawChannel, type TellPeer } from './raw-channel.js';

/**
 * Begins to read `frames` as raw values. `onFault` is told, once, of messages that had to be left out. `tells`: this side is the
 * callee, whose errors are told by trailers.
 */
export function startRawChannel(
  frames: FrameStream,
  onFault: (message: string) => void,
  codec: Codec = JSON_CODEC,
  tells = false,
): RawChannel {
  const tell: TellPeer | undefined = tells
    ? (error, errorId) => frames.fail(error, trailersOf(error, errorId, onFault))
    : undefined;
  const channel = new RawChannel(frames, codec, tell);
  let told = false;
  const fault = (message: string): void => {
    if (!told) onFault(`${frames.name}: ${message}; it is ignored`);
    told = true;
  };
  frames.start({
    keepsNothing: !codec.keepsPayload,
    readText: codec.decodeText,
    onValue: (value, bytes) => channel.onValue(value, bytes),
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
    onEnd() {
      const failure = failureIn(frames.trailers);
      if (failure === undefined) {
        channel.onEnd();
        return;
      }
      channel.onClose(failure);
      // What was still to be sent is of no interest to anybody.
      frames.destroy(failure);
    },
    onClose: (error) => channel.onClose(error),
  });
  return channel;
}

/** What is too long for trailers is told to the log alone; the peer has the id of that line. */
function trailersOf(
  error: MeshError,
  errorId: string | undefined,
  onFault: (message: string) => void,
): Record<string, string> {
  try {
    return errorTrailers(error.toWire(), errorId);
  } catch (cause) {
    const id = errorId ?? randomUUID();
    onFault(`errorId ${id}: an error could not be sent: ${MeshError.from(cause).rawMessage}`);
    return errorTrailers(new MeshError('UNKNOWN', 'Internal server error').toWire(), id);
  }
}

/** What the callee says has gone wrong; `undefined` for an end in order, which has no trailers. */
function failureIn(trailers: HeaderBlock | undefined): MeshError | undefined {
  if (trailers === undefined || headerOf(trailers, TRAILER.status) === undefined) return undefined;
  const ended = readTrailers(trailers);
  if (ended === undefined) return undefined;
  const { err } = ended;
  const failure = MeshError.is(err)
    ? err
    : new MeshError('UNKNOWN', `the channel handler failed: ${JSON.stringify(err)}`);
  tagError(failure, headerOf(trailers, TRAILER.errorId));
  return failure;
}
