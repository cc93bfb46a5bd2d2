/** Ending an HTTP/2 stream at once, so that the peer cannot take it for an end in order. */
import { constants, type Http2Stream } from 'node:http2';
import type { MeshErrorCode } from '../protocol/error-code.js';

/**
 * Sends RST_STREAM with this code. Node's own `close()` ends the writable half first, and with it goes an END_STREAM that
 * the peer would read as the proper end of what was sent.
 */
export function resetStream(stream: Http2Stream, rstCode: number): void {
  stream._final = (done) => done();
  stream.close(rstCode);
  stream.destroy();
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
