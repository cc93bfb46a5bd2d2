/**
 * The closed list of error codes of the mesh.
 *
 * The names and meanings are those of gRPC (doc/statuscodes.md) and of the Connect protocol, written as strings.
 * The HTTP statuses, used by unary calls over plain HTTP/2, follow the Connect protocol's table.
 */
export const HTTP_STATUS_OF_ERROR_CODE = {
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
} as const;

/** One of the sixteen error codes a {@link MeshError} can have. */
export type MeshErrorCode = keyof typeof HTTP_STATUS_OF_ERROR_CODE;

/** Every error code, in the order of gRPC's numbers 1 to 16. */
export const MESH_ERROR_CODES = Object.keys(HTTP_STATUS_OF_ERROR_CODE) as readonly MeshErrorCode[];

/** True when `value` is one of the closed list of codes. */
export function isMeshErrorCode(value: unknown): value is MeshErrorCode {
  return typeof value === 'string' && Object.hasOwn(HTTP_STATUS_OF_ERROR_CODE, value);
}
