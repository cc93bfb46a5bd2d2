/** How a call stream ended, as its trailers say it. */
import { tagError } from './error-id.js';
import { TRAILER, headerOf, type HeaderBlock } from './headers.js';
import { MeshError } from './mesh-error.js';

/** Errors longer than this are cut: header blocks have limits, and a larger one would cost the whole session. */
const MAX_ERROR_BYTES = 16 * 1024;

/** The trailers of a call that ended well. */
export const OK_TRAILERS: Readonly<Record<string, string>> = { [TRAILER.status]: 'OK' };

/** The trailers for `err` and `errorId`, which are what a response packet would carry. Never throws. */
export function errorTrailers(err: unknown, errorId?: string): Record<string, string> {
  const json = asciiJson(err);
  const fits = json !== undefined && json.length <= MAX_ERROR_BYTES;
  return {
    [TRAILER.status]: MeshError.fromWire(err)?.code ?? 'UNKNOWN',
    [TRAILER.error]: fits ? json : '{"status":"error","message":"Internal server error"}',
    ...(errorId === undefined ? {} : { [TRAILER.errorId]: errorId }),
  };
}

/** What the trailers say: nothing for `OK`, else the error of the call. A stream without trailers was cut short. */
export function readTrailers(trailers: HeaderBlock | undefined): { readonly err: unknown } | undefined {
  const status = trailers && headerOf(trailers, TRAILER.status);
  if (trailers === undefined || status === undefined) {
    return { err: new MeshError('UNAVAILABLE', 'the call stream ended without a status') };
  }
  if (status === 'OK') return undefined;
  const json = headerOf(trailers, TRAILER.error);
  if (json === undefined) return { err: new MeshError('UNKNOWN', `the call ended with status ${status}`) };
  try {
    const err: unknown = JSON.parse(json);
    tagError(err, headerOf(trailers, TRAILER.errorId));
    return { err: MeshError.fromWire(err) ?? err };
  } catch (cause) {
    return {
      err: new MeshError('UNKNOWN', `the call ended with status ${status} and an error that is not JSON`, {
        cause,
      }),
    };
  }
}

/** JSON in which every character beyond ASCII is escaped, since header values are bytes. */
function asciiJson(value: unknown): string | undefined {
  try {
    const json = JSON.stringify(value) as string | undefined;
    return json?.replace(
      /[\u007f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
  } catch {
    return undefined;
  }
}
