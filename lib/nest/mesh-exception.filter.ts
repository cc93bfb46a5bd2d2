/** For services: what a handler throws on purpose keeps its HTTP status and body on the way to the caller. */
import { Catch, HttpException, Logger, type ArgumentsHost, type RpcExceptionFilter } from '@nestjs/common';
import { RpcException } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { throwError, type Observable } from 'rxjs';
import { HTTP_STATUS_OF_ERROR_CODE, isMeshErrorCode, type MeshErrorCode } from '../protocol/error-code.js';
import { MeshError, type MeshErrorWire } from '../protocol/mesh-error.js';
import { EventSource } from './context-sources.js';
import {
  codeOfHttpStatus,
  isHandlerError,
  isHttpStatus,
  isRecord,
  type HandlerErrorWire,
} from '../protocol/handler-error.js';
import { MeshContext } from './mesh.context.js';
import { callText } from './reply-errors.js';

/** Nest throws an RpcException of these words when a guard says no. */
const FORBIDDEN = 'Forbidden resource';

/**
 * Bind it in a service: `app.useGlobalFilters(new MeshExceptionFilter())`, `APP_FILTER` or `@UseFilters(MeshExceptionFilter)`.
 * Callers then catch
 *
 * - for an `HttpException`, or an `RpcException`: `{ status: 'error', code, message, details: { httpStatus, response } }`;
 * - for a `MeshError`, for instance of a call that the handler made: that `MeshError`, with delivery `unknown`;
 * - for an error of this filter from a call that the handler made: that error as it is;
 * - for everything else: `Internal server error` with `details.errorId`, which is in the log of the service beside the error.
 *
 * In an HTTP context it throws the exception on: use `MeshHttpExceptionFilter` there, which does the work of both.
 */
@Catch()
export class MeshExceptionFilter implements RpcExceptionFilter {
  private readonly logger = new Logger('MeshExceptionFilter');

  catch(exception: unknown, host: ArgumentsHost): Observable<never> {
    if (host.getType() !== 'rpc') throw exception;
    const known = knownError(exception);
    // An event has no caller who would be told.
    if (known !== undefined && isEvent(host)) this.logger.error(exception);
    const error = known ?? this.mask(exception, contextOf(host));
    return throwError(() => error);
  }

  private mask(exception: unknown, context: MeshContext | undefined): HandlerErrorWire {
    const errorId = randomUUID();
    const which = context === undefined ? '' : `${callText(context.getPattern(), context.peer)}: `;
    this.logger.error(`errorId ${errorId}: ${which}${textOf(exception)}`);
    const message = 'Internal server error';
    const response = { statusCode: 500, message, errorId };
    return {
      status: 'error',
      code: 'UNKNOWN',
      message,
      details: { httpStatus: 500, response, errorId },
    };
  }
}

/** The error that callers may see; `undefined` for what they may not. */
function knownError(exception: unknown): HandlerErrorWire | MeshErrorWire | undefined {
  if (MeshError.is(exception)) return exception.toJSON();
  if (isHandlerError(exception)) return exception;
  if (exception instanceof HttpException) return ofHttpException(exception);
  if (exception instanceof RpcException) return ofRpcException(exception);
  return undefined;
}

/** The body is what Nest would answer if the exception were thrown in an HTTP handler. */
function ofHttpException(exception: HttpException): HandlerErrorWire {
  const httpStatus = isHttpStatus(exception.getStatus()) ? exception.getStatus() : 500;
  const code = codeOfHttpStatus(httpStatus);
  const response: unknown = exception.getResponse();
  if (response instanceof Error) {
    // Nest keeps the text of such an error from the client too.
    const message = STATUS_CODES[httpStatus] ?? 'Internal server error';
    return {
      status: 'error',
      code,
      message,
      details: { httpStatus, response: { statusCode: httpStatus, message } },
    };
  }
  const { errorCode } = exception;
  const body =
    typeof response === 'object'
      ? response
      : { statusCode: httpStatus, message: response, ...(errorCode === undefined ? {} : { errorCode }) };
  return { status: 'error', code, message: exception.message, details: { httpStatus, response: body } };
}

/** The payload is kept beside the body, so that callers which are no gateways lose nothing of it. */
function ofRpcException(exception: RpcException): HandlerErrorWire | MeshErrorWire {
  const payload: unknown = exception.getError();
  if (MeshError.is(payload)) return payload.toJSON();
  if (isHandlerError(payload)) return payload;
  if (payload instanceof HttpException) return ofHttpException(payload);
  const isObject = typeof payload === 'object' && payload !== null;
  const { code, httpStatus } = classOf(payload);
  const message = isObject ? exception.message : textOf(payload);
  const response = { statusCode: httpStatus, message };
  const kept = isObject && !(payload instanceof Error) ? { payload } : {};
  return { status: 'error', code, message, details: { httpStatus, response, ...kept } };
}

/** `status` or `statusCode` of the payload when it is an error of HTTP, else the status of its `code`, else 500. */
function classOf(payload: unknown): { code: MeshErrorCode; httpStatus: number } {
  if (payload === FORBIDDEN) return { code: 'PERMISSION_DENIED', httpStatus: 403 };
  const { status, statusCode, code } = isRecord(payload) ? payload : {};
  const stated = [status, statusCode].find((each) => isHttpStatus(each) && each >= 400) as number | undefined;
  if (isMeshErrorCode(code)) return { code, httpStatus: stated ?? HTTP_STATUS_OF_ERROR_CODE[code] };
  return stated === undefined
    ? { code: 'UNKNOWN', httpStatus: 500 }
    : { code: codeOfHttpStatus(stated), httpStatus: stated };
}

function isEvent(host: ArgumentsHost): boolean {
  return contextOf(host)?.getArgByIndex(0) instanceof EventSource;
}

/** `undefined` on another transport. */
function contextOf(host: ArgumentsHost): MeshContext | undefined {
  const args: unknown[] = host.getArgs();
  return args.find((arg) => arg instanceof MeshContext);
}

/** Anything can be thrown, also what cannot become a string. */
function textOf(value: unknown): string {
  if (value instanceof Error) return value.stack ?? value.message;
  if (typeof value === 'string') return value;
  try {
    // `undefined` for what JSON leaves out.
    const json = JSON.stringify(value) as string | undefined;
    if (json !== undefined) return json;
  } catch {
    // A cycle or a bigint.
  }
  return `a thrown ${typeof value}`;
}
