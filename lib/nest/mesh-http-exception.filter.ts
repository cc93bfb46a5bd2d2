/** For gateways: what a mesh call rejects with becomes the HTTP response that fits it. */
import { Catch, HttpException, Logger, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { NO_MESSAGE_HANDLER } from '@nestjs/microservices/constants.js';
import { STATUS_CODES } from 'node:http';
import type { Observable } from 'rxjs';
import { HTTP_STATUS_OF_ERROR_CODE } from '../protocol/error-code.js';
import { MeshError } from '../protocol/mesh-error.js';
import { isHandlerError, isRecord } from '../protocol/handler-error.js';
import { MeshExceptionFilter } from './mesh-exception.filter.js';

/**
 * Bind it in an HTTP application by `APP_FILTER` or `@UseFilters(MeshHttpExceptionFilter)`, or as
 * `app.useGlobalFilters(new MeshHttpExceptionFilter(app.getHttpAdapter()))`. The response is
 *
 * - for an error of `MeshExceptionFilter`: the status and the body of the exception that the callee threw;
 * - for a `MeshError`: the status of its code, and `{ statusCode, message, code }`; from 500 on the message is the standard one of
 *   the status, since the real one names services and nodes, and the real one is logged;
 * - for a pattern that the callee does not have: 501, logged;
 * - for everything else: what Nest answers.
 *
 * In the mesh handlers of a hybrid application it does what `MeshExceptionFilter` does.
 */
@Catch()
export class MeshHttpExceptionFilter extends BaseExceptionFilter {
  private readonly log = new Logger('MeshHttpExceptionFilter');
  private readonly rpc = new MeshExceptionFilter();

  override catch(exception: unknown, host: ArgumentsHost): void | Observable<never> {
    if (host.getType() === 'rpc') return this.rpc.catch(exception, host);
    const http = this.httpExceptionOf(exception) ?? exception;
    if (host.getType() !== 'http') throw http;
    if (this.applicationRef === undefined && this.httpAdapterHost === undefined) {
      this.log.error(
        'the filter has no HTTP adapter: make it by new MeshHttpExceptionFilter(app.getHttpAdapter()), or let Nest make it (APP_FILTER, @UseFilters(MeshHttpExceptionFilter))',
      );
      throw http;
    }
    super.catch(http, host);
  }

  /** `undefined` for what is Nest's to answer. */
  private httpExceptionOf(error: unknown): HttpException | undefined {
    if (MeshError.is(error)) return this.ofMeshError(error);
    if (isHandlerError(error)) {
      const { httpStatus, response } = error.details;
      const body = isRecord(response) || Array.isArray(response) ? response : undefined;
      return new HttpException(body ?? { statusCode: httpStatus, message: error.message }, httpStatus);
    }
    if (error === NO_MESSAGE_HANDLER)
      return this.ofMeshError(new MeshError('UNIMPLEMENTED', NO_MESSAGE_HANDLER));
    return undefined;
  }

  private ofMeshError(error: MeshError): HttpException {
    const { code } = error;
    const statusCode = HTTP_STATUS_OF_ERROR_CODE[code];
    const masked = statusCode >= 500;
    if (masked) this.log.error(error);
    const message = masked ? (STATUS_CODES[statusCode] ?? 'Internal server error') : error.rawMessage;
    return new HttpException({ statusCode, message, code }, statusCode);
  }
}
