/** What callers are told when an answer fails: Nest's shapes, and never less than one last packet. */
import { RpcException } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundCall } from '../transport/inbound-call.js';

/** Nest's words for an error whose cause callers must not see. */
const MASKED = { status: 'error', message: 'Internal server error' } as const;

/** Told of what callers are not told. */
export interface ReplyLogger {
  error(message: string): void;
}

/** Runs a step of the answer; when it cannot be written the caller gets an error in its place. False then. */
export function attempt(call: InboundCall, logger: ReplyLogger, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    try {
      call.fail(unwritable(error, call, logger));
    } catch (second) {
      // The channel itself is gone, and with it the caller.
      logger.error(`an answer could not be sent: ${describe(second)}`);
    }
    return false;
  }
}

/** Too large is the caller's business and says what to do; what cannot be serialized is the callee's, and masked. */
function unwritable(error: unknown, call: InboundCall, logger: ReplyLogger): unknown {
  const text = `the answer to ${JSON.stringify(call.pattern)} could not be sent: ${describe(error)}`;
  if (!MeshError.is(error) || error.code !== 'RESOURCE_EXHAUSTED') return masked(logger, text);
  logger.error(text);
  return error.withDelivery('unknown').toWire();
}

/** An error that has passed Nest's filters: as it is, but never as something that JSON or the caller takes for no error. */
export function errorOnWire(error: unknown, logger: ReplyLogger): unknown {
  if (MeshError.is(error)) return error.toJSON();
  if (isCrash(error)) return masked(logger, `an exception filter failed: ${describe(error)}`);
  if (error instanceof Error) return { status: 'error', message: error.message };
  if (error && typeof error !== 'function' && typeof error !== 'symbol') return error;
  return masked(logger, `an exception filter gave what cannot be sent as an error: ${describe(error)}`);
}

/** What the language throws is a fault of the program (in a filter, or a filter's plain value in an Observable), not a message. */
function isCrash(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

/** An error that no filter has seen, since it came out of an iterable: as Nest's own last filter would say it. */
export function failureOnWire(error: unknown, logger: ReplyLogger): unknown {
  if (MeshError.is(error)) return error.toJSON();
  if (error instanceof RpcException) {
    const payload: unknown = error.getError();
    if (typeof payload === 'object' && payload !== null) return errorOnWire(payload, logger);
    return { status: 'error', message: payload };
  }
  return masked(logger, describe(error));
}

/**
 * The id stays in the log: callers compare this shape to the letter, as on Nest's other transports. `MeshExceptionFilter` is
 * the way to show it to them.
 */
export function masked(logger: ReplyLogger, text: string): typeof MASKED {
  logger.error(`errorId ${randomUUID()}: ${text}`);
  return MASKED;
}

export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
