/** The wire form of what a handler threw on purpose: made by `MeshExceptionFilter`, read by `MeshHttpExceptionFilter`. */
import { isMeshErrorCode, type MeshErrorCode } from './error-code.js';

/** What a {@link HandlerErrorWire} carries beside its code and message. */
export interface HandlerErrorDetails {
  /** The status of the HTTP response, 200 to 599. */
  readonly httpStatus: number;
  /** The body of the HTTP response. */
  readonly response: unknown;
  /** The payload of an `RpcException`, when it was an object. */
  readonly payload?: unknown;
  /** Names the line in the callee's log that tells what was masked. */
  readonly errorId?: string;
}

/**
 * What callers of a handler behind `MeshExceptionFilter` catch: a plain object, as everything that handlers throw.
 *
 * It has no `delivery`; that tells it from a `MeshError`.
 */
export interface HandlerErrorWire {
  readonly status: 'error';
  readonly code: MeshErrorCode;
  readonly message: string;
  readonly details: HandlerErrorDetails;
}

/** The codes that say the same as an HTTP status; the way back of the table in `error-code.ts`. */
const CODE_OF_HTTP_STATUS: ReadonlyMap<number, MeshErrorCode> = new Map([
  [400, 'INVALID_ARGUMENT'],
  [401, 'UNAUTHENTICATED'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [408, 'DEADLINE_EXCEEDED'],
  [409, 'ABORTED'],
  [410, 'NOT_FOUND'],
  [412, 'FAILED_PRECONDITION'],
  [413, 'RESOURCE_EXHAUSTED'],
  [416, 'OUT_OF_RANGE'],
  [422, 'INVALID_ARGUMENT'],
  [429, 'RESOURCE_EXHAUSTED'],
  [499, 'CANCELLED'],
  [500, 'INTERNAL'],
  [501, 'UNIMPLEMENTED'],
  [502, 'UNAVAILABLE'],
  [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED'],
]);

/** The code that fits an HTTP status best; `FAILED_PRECONDITION` for other 4xx, `UNKNOWN` for the rest. */
export function codeOfHttpStatus(status: number): MeshErrorCode {
  const known = CODE_OF_HTTP_STATUS.get(status);
  if (known !== undefined) return known;
  return status >= 400 && status < 500 ? 'FAILED_PRECONDITION' : 'UNKNOWN';
}

/** True for what a final HTTP response can have as its status. */
export function isHttpStatus(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599;
}

/** True for the wire form; false for the plain shapes of Nest and for everything that a peer has made up halfway. */
export function isHandlerError(value: unknown): value is HandlerErrorWire {
  if (!isRecord(value) || value['status'] !== 'error' || !isMeshErrorCode(value['code'])) return false;
  const { message, details } = value;
  return typeof message === 'string' && isRecord(details) && isHttpStatus(details['httpStatus']);
}

/** True for objects that are no arrays. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
