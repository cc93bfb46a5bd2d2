/** HTTP/2 settings for throughput: RFC 9113's defaults (64 KB windows, 16 KB frames) starve a fast link. */
import type { Settings } from 'node:http2';
import type { WireLimits } from '../protocol/limits.js';

/** How much one stream may send ahead of its reader. */
export const STREAM_WINDOW_BYTES = 16 * 1024 * 1024;
/** The largest HTTP/2 DATA frame that a peer may send. */
export const MAX_HTTP2_FRAME_BYTES = 1024 * 1024;
/** Node refuses new streams once a session holds more than this, in megabytes. */
export const MAX_SESSION_MEMORY_MB = 1_024;

/** The SETTINGS of both sides. */
export function http2Settings(limits: WireLimits): Settings {
  return {
    enablePush: false,
    initialWindowSize: STREAM_WINDOW_BYTES,
    maxFrameSize: MAX_HTTP2_FRAME_BYTES,
    maxHeaderListSize: limits.maxHeaderBytes,
    maxConcurrentStreams: limits.maxChannels,
  };
}
