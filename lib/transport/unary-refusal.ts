/** Why a request over plain HTTP/2 is not taken, in the statuses of HTTP (RFC 9110, section 15), which say more than those of codes. */
import type { OutgoingHttpHeaders } from 'node:http2';
import type { MeshErrorCode } from '../protocol/error-code.js';
import { MeshError } from '../protocol/mesh-error.js';

/** What a refusal says beside its code and message. */
export interface RefusalInit {
  readonly httpStatus: number;
  readonly headers?: OutgoingHttpHeaders;
}

/** The fault of a request. Its handler was not called. */
export class UnaryRefusal extends MeshError {
  readonly httpStatus: number;
  readonly headers: OutgoingHttpHeaders;

  constructor(code: MeshErrorCode, message: string, { httpStatus, headers = {} }: RefusalInit) {
    super(code, message, { delivery: 'refused' });
    this.httpStatus = httpStatus;
    this.headers = headers;
  }
}
