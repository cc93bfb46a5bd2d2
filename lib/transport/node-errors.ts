/** The one place where errors of Node, HTTP/2 and TLS become a MeshError. */
import { constants } from 'node:http2';
import { isMeshErrorCode, type MeshErrorCode } from '../protocol/error-code.js';
import { MeshError, type Delivery } from '../protocol/mesh-error.js';

/** Errors of connecting: nothing was sent. */
export function connectError(error: unknown, address: string): MeshError {
  if (MeshError.is(error)) return error;
  const code = codeOf(error);
  const reason = reasonOf(error) ?? String(error);
  const hint = isTlsFault(code, reason) ? '; check the `tls` options of both sides' : '';
  return new MeshError('UNAVAILABLE', `cannot connect to ${address}: ${reason}${hint}`, {
    delivery: 'not-sent',
    details: code === '' ? undefined : { errno: code },
    cause: error,
  });
}

/** What is wrong with a peer whose connection never became a session, or broke the rules of HTTP/2. */
export function peerFault(error: unknown): string {
  const reason = reasonOf(error) ?? String(error);
  return /bad client magic/i.test(reason)
    ? 'it does not speak HTTP/2 with prior knowledge (HTTP/1.1, or TLS on a cleartext port?)'
    : reason;
}

/** Why a session or a stream that stood has ended. */
export function brokenError(error: unknown, what: string, delivery: Delivery = 'unknown'): MeshError {
  if (MeshError.is(error)) return error;
  const code = codeOf(error);
  const reason = reasonOf(error);
  return new MeshError(
    'UNAVAILABLE',
    reason === undefined ? `${what} was lost` : `${what} was lost: ${reason}`,
    {
      delivery,
      details: code === '' ? undefined : { errno: code },
      cause: error,
    },
  );
}

/** The meaning of an RST_STREAM code (RFC 9113, section 7). `undefined` for NO_ERROR. */
export function resetError(rstCode: number, what: string): MeshError | undefined {
  switch (rstCode) {
    case constants.NGHTTP2_NO_ERROR:
      return undefined;
    case constants.NGHTTP2_CANCEL:
      return new MeshError('CANCELLED', `${what} was cancelled by the peer`);
    case constants.NGHTTP2_REFUSED_STREAM:
      return new MeshError('UNAVAILABLE', `${what} was refused by the peer`, { delivery: 'refused' });
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return new MeshError('RESOURCE_EXHAUSTED', `${what} was reset: the peer is overloaded`);
    default:
      return new MeshError('UNAVAILABLE', `${what} was reset with HTTP/2 error code ${rstCode}`);
  }
}

const CODE_OF_STATUS: Readonly<Record<number, MeshErrorCode>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'UNIMPLEMENTED',
  405: 'UNIMPLEMENTED',
  429: 'RESOURCE_EXHAUSTED',
  501: 'UNIMPLEMENTED',
};

/** A peer that answered something else than 200 to a channel request: it did not start anything. */
export function statusError(status: number, peer: string, path: string, body: string): MeshError {
  const said = errorIn(body);
  const code = said.code ?? CODE_OF_STATUS[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'UNKNOWN');
  const reason = said.message === '' ? '' : `: ${said.message}`;
  return new MeshError(code, `${peer} answered ${path} with status ${status}${reason}`, {
    delivery: 'refused',
    details: { httpStatus: status },
  });
}

const MAX_QUOTED = 200;

/** `{"error": {code, message}}`, as peers of this protocol refuse a stream; anything else is quoted as it is. */
function errorIn(body: string): { readonly code: MeshErrorCode | undefined; readonly message: string } {
  try {
    const error = (JSON.parse(body) as { error?: { code?: unknown; message?: unknown } } | null)?.error;
    if (typeof error?.message === 'string') {
      return {
        code: isMeshErrorCode(error.code) ? error.code : undefined,
        message: error.message.slice(0, MAX_QUOTED),
      };
    }
  } catch {
    // Not JSON.
  }
  return { code: undefined, message: body.slice(0, MAX_QUOTED).trim() };
}

/** Not `instanceof Error`: errors of Node can come from another realm. */
function reasonOf(error: unknown): string | undefined {
  const message = (error as { message?: unknown } | null | undefined)?.message;
  return typeof message === 'string' && message !== '' ? message : codeOf(error) || undefined;
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

function isTlsFault(code: string, reason: string): boolean {
  return /TLS|SSL|CERT|ALPN|SELF_SIGNED|UNABLE_TO/i.test(code) || /certificate|\bTLS\b|\bSSL\b/i.test(reason);
}
