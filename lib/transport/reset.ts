/** Ending an HTTP/2 stream by a reset: at once, and not to be taken for an end in order; or when our own end has left. */
import { constants, type Http2Stream } from 'node:http2';
import type { MeshErrorCode } from '../protocol/error-code.js';

/**
 * Sends RST_STREAM with this code. Node's own `close()` ends the writable half first, and with it goes an END_STREAM that
 * the peer would read as the proper end of what was sent.
 */
export function resetStream(stream: Http2Stream, rstCode: number): void {
  stream._final = (done) => done();
  const reset = (): void => {
    if (stream.destroyed) return;
    stream.close(rstCode);
    stream.destroy();
  };
  // Node writes what is pending before it resets, also when it is called while it reads. If another stream is just being closed
  // by what was read, that never ends (seen on 20.20). Only for CANCEL does Node itself wait until it has read.
  if (rstCode === constants.NGHTTP2_CANCEL) reset();
  else setImmediate(reset);
}

/** How long a peer may go on sending after our end. */
const LINGER_MS = 5_000;

/**
 * Takes nothing more from the peer: the stream is reset with `code`, `atOnce` when our end has left, in any case after a
 * while.
 */
export function resetAfterEnd(
  stream: Http2Stream,
  atOnce: boolean,
  code: number = constants.NGHTTP2_NO_ERROR,
): void {
  stream.resume();
  const reset = (): void => resetStream(stream, code);
  const timer = setTimeout(reset, LINGER_MS).unref();
  stream.once('close', () => clearTimeout(timer));
  if (!atOnce) return;
  // The reset must not overtake the end.
  if (stream.writableFinished) setImmediate(reset);
  else stream.once('finish', () => setImmediate(reset));
}

/** The RST_STREAM code that says as much of an error as HTTP/2 can. */
export function resetCodeOf(code: MeshErrorCode): number {
  switch (code) {
    case 'CANCELLED':
      return constants.NGHTTP2_CANCEL;
    case 'RESOURCE_EXHAUSTED':
      return constants.NGHTTP2_ENHANCE_YOUR_CALM;
    case 'DATA_LOSS':
    case 'INVALID_ARGUMENT':
      return constants.NGHTTP2_PROTOCOL_ERROR;
    default:
      return constants.NGHTTP2_INTERNAL_ERROR;
  }
}
