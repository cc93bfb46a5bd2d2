/** Reads the whole body of a request, within limits. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { WireLimits } from '../protocol/limits.js';
import { cancelledByCaller } from './inbound-call.js';
import { UnaryRefusal } from './unary-refusal.js';

/**
 * The body. Rejects with a `MeshError`: `RESOURCE_EXHAUSTED` (413) when it is over `limits.maxFrameBytes`, declared or real,
 * `DEADLINE_EXCEEDED` (408) when it stands still for `limits.incompleteFrameTimeoutMs`, `CANCELLED` when the caller leaves.
 */
export function readBody(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  { maxFrameBytes, incompleteFrameTimeoutMs }: WireLimits,
): Promise<Buffer> {
  const declared = Number(headers['content-length'] ?? 0);
  if (declared > maxFrameBytes) return Promise.reject(tooLarge(`${declared} bytes`, maxFrameBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (step: () => void): void => {
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      stream.setTimeout(0);
      step();
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes <= maxFrameBytes) chunks.push(chunk);
      else settle(() => reject(tooLarge(`more than ${maxFrameBytes} bytes`, maxFrameBytes)));
    };
    const onEnd = (): void => {
      // Node also says 'end' for a stream that was reset or lost; 'close' tells of that.
      if (!stream.aborted) settle(() => resolve(Buffer.concat(chunks, bytes)));
    };
    const onClose = (): void => settle(() => reject(cancelledByCaller()));
    stream.on('data', onData).once('end', onEnd).once('close', onClose);
    stream.setTimeout(incompleteFrameTimeoutMs, () =>
      settle(() =>
        reject(
          new UnaryRefusal(
            'DEADLINE_EXCEEDED',
            `the body stood still for ${incompleteFrameTimeoutMs} ms (limits.incompleteFrameTimeoutMs)`,
            { httpStatus: 408 },
          ),
        ),
      ),
    );
  });
}

function tooLarge(size: string, limit: number): UnaryRefusal {
  return new UnaryRefusal(
    'RESOURCE_EXHAUSTED',
    `a body of ${size} is over limits.maxFrameBytes (${limit}) of the receiver`,
    { httpStatus: 413 },
  );
}
