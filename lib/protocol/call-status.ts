/** How a call stream ended, as its trailers say it. */
import { tagError } from './error-id.js';
import { TRAILER, headerOf, type HeaderBlock } from './headers.js';
import { MeshError } from './mesh-error.js';

/** Longer errors do not travel: header blocks have limits, and a larger one would cost the whole session. */
const MAX_ERROR_BYTES = 16 * 1024;

/** The trailers of a call that ended well. */
export const OK_TRAILERS: Readonly<Record<string, string>> = { [TRAILER.status]: 'OK' };

/**
 * The trailers for `err` and `errorId`, which are what a response packet would carry. Throws a `MeshError` (`INVALID_ARGUMENT`) for
 * an error that is no JSON, or over 16 KiB of it.
 */
export function errorTrailers(err: unknown, errorId?: string): Record<string, string> {
  const json = asciiJson(err);
  if (json === undefined) throw new MeshError('INVALID_ARGUMENT', 'the error cannot be written as JSON');
  if (json.length > MAX_ERROR_BYTES)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `an error of ${json.length} bytes is over the ${MAX_ERROR_BYTES} of trailers: ${json.slice(0, 1_000)}…`,
    );
  return {
    [TRAILER.status]: MeshError.fromWire(err)?.code ?? 'UNKNOWN',
    [TRAILER.error]: json,
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
