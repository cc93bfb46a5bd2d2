/** Answers over plain HTTP/2: a status and unframed JSON, errors as `{"error": {code, message, details?}}`. */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { HTTP_STATUS_OF_ERROR_CODE, type MeshErrorCode } from '../protocol/error-code.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { FramePayload } from '../protocol/frame.js';
import { isHandlerError } from '../protocol/handler-error.js';
import { UnaryRefusal } from './unary-refusal.js';

/** How long a caller may go on sending after our answer; a reset at once makes `curl` drop the answer. */
const LINGER_MS = 1_000;

/** What `error` holds in the body of an answer. */
export interface UnaryError {
  readonly code: MeshErrorCode;
  readonly message: string;
  /** For `UNKNOWN`, what the handler's error says, as a response packet would carry it. */
  readonly details?: unknown;
}

/** The `err` by which a service says that no handler has the route: the words of Nest, which cannot be imported here. */
const NO_HANDLER = 'There is no matching message handler defined in the remote service.';

/** What an answer says of an error. */
export interface UnaryFailure {
  readonly status: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly error: UnaryError;
}

/** What the `err` and the `errorId` of a response packet are in an answer. */
export function unaryFailureOf(err: unknown, errorId?: string): UnaryFailure {
  if (err instanceof UnaryRefusal)
    return {
      status: err.httpStatus,
      headers: err.headers,
      error: { code: err.code, message: err.rawMessage },
    };
  const fault = MeshError.is(err) ? err : MeshError.fromWire(err);
  if (fault !== undefined) {
    const { code, rawMessage: message, details } = fault;
    const error = details === undefined ? { code, message } : { code, message, details };
    return { status: HTTP_STATUS_OF_ERROR_CODE[code], error };
  }
  if (err === NO_HANDLER) return { status: 404, error: { code: 'NOT_FOUND', message: NO_HANDLER } };
  if (isHandlerError(err)) {
    const { code, message, details } = err;
    // A status that is no error would say that the call has succeeded.
    return { status: Math.max(details.httpStatus, 400), error: { code, message, details } };
  }
  const details = errorId === undefined ? err : withId(err, errorId);
  return { status: 500, error: { code: 'UNKNOWN', message: messageOf(err), details } };
}

/** The body of an answer that says what `error` holds. Throws when that is no JSON. */
export function errorBody(error: UnaryError): string {
  return JSON.stringify({ error });
}

/**
 * Answers with an error in the status that fits it. Throws when `err` is no JSON; nothing is answered then. Does nothing when
 * the stream is answered or gone.
 */
export function answerError(stream: ServerHttp2Stream, err: unknown): void {
  const { status, headers, error } = unaryFailureOf(err);
  answer(stream, status, errorBody(error), headers);
}

/** Answers, with JSON or without a body, and ends the stream. Does nothing when it is answered or gone. */
export function answer(
  stream: ServerHttp2Stream,
  status: number,
  json?: FramePayload,
  headers?: OutgoingHttpHeaders,
): void {
  if (stream.headersSent || stream.destroyed || stream.closed) return;
  if (json === undefined) stream.respond({ ...headers, ':status': status }, { endStream: true });
  else {
    const body = Buffer.from(json);
    const isHead = asksForHead(stream);
    const described = { 'content-type': 'application/json', 'content-length': body.length };
    stream.respond({ ...headers, ':status': status, ...described }, { endStream: isHead });
    if (!isHead) stream.end(body);
  }
  // What is left of the request is of no interest, but unread it would keep the stream open.
  stream.resume();
  if (stream.readableEnded) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), LINGER_MS).unref();
  stream.once('close', () => clearTimeout(timer));
}

/** Node has known `headRequest` since HTTP/2 came; its types do not. */
function asksForHead(stream: ServerHttp2Stream): boolean {
  return (stream as ServerHttp2Stream & { readonly headRequest?: boolean }).headRequest === true;
}

function withId(err: unknown, errorId: string): unknown {
  return typeof err === 'object' && err !== null && !Array.isArray(err) ? { ...err, errorId } : err;
}

function messageOf(err: unknown): string {
  if (typeof err === 'string') return err;
  const message: unknown =
    typeof err === 'object' && err !== null ? (err as { message?: unknown }).message : undefined;
  return typeof message === 'string' ? message : 'the handler failed';
}
