/** What callers are told when a call fails: Nest's shapes to the letter, and an id beside what is kept from them. */
import { RpcException } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { MeshError } from '../protocol/mesh-error.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { Peer } from '../transport/peer.js';
import { isHandlerError, isRecord } from '../protocol/handler-error.js';

/** Nest's words for an error whose cause callers must not see. */
const MASKED = { status: 'error', message: 'Internal server error' } as const;

/** Told of what callers are not told. */
export interface ReplyLogger {
  error(message: string): void;
}

/** A call that is being answered. */
export interface Answering {
  readonly call: InboundCall;
  /** Who made it. */
  readonly peer: Peer;
  readonly logger: ReplyLogger;
}

/** What goes wrong, and whom it is told. */
export interface Failing {
  /** @default a call */
  readonly kind?: 'channel';
  readonly call: { readonly pattern: unknown };
  readonly peer: Peer;
  readonly logger: ReplyLogger;
}

/** The last packet of a call that failed. */
export interface Failure {
  readonly err: unknown;
  /** Names the line of the log that tells what `err` does not. */
  readonly errorId?: string;
}

/** Runs a step of the answer; when it cannot be written the caller gets an error in its place. False then. */
export function attempt(answering: Answering, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    failUnwritable(answering, error);
    return false;
  }
}

/** The answer could not be written. Never throws. */
export function failUnwritable(answering: Answering, error: unknown): void {
  const { call, logger } = answering;
  try {
    send(call, unwritable(answering, error));
  } catch (second) {
    // The channel itself is gone, and with it the caller.
    logger.error(`an answer could not be sent: ${describe(second)}`);
  }
}

/** Ends the call with an error that has passed Nest's filters. Throws when it cannot be written. */
export function failFiltered(answering: Answering, error: unknown): void {
  send(answering.call, filtered(answering, error));
}

/** Ends the call with an error that no filter has seen, since it came out of an iterable. Throws when it cannot be written. */
export function failUnfiltered(answering: Answering, error: unknown): void {
  send(answering.call, unfiltered(answering, error));
}

/** Ends the call with an error of which the caller is told nothing but its id. Throws when it cannot be written. */
export function failMasked(answering: Answering, text: string): void {
  send(answering.call, masked(answering, text));
}

/** The text of anything that can be thrown, with where it comes from. */
export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function send(call: InboundCall, { err, errorId }: Failure): void {
  call.fail(err, errorId);
}

/** Too large is the caller's business and says what to do; what cannot be serialized is the callee's, and masked. */
function unwritable(answering: Answering, error: unknown): Failure {
  if (!MeshError.is(error) || error.code !== 'RESOURCE_EXHAUSTED')
    return masked(answering, `the answer could not be sent: ${describe(error)}`);
  answering.logger.error(
    `${callText(answering.call.pattern, answering.peer)}: the answer could not be sent: ${describe(error)}`,
  );
  return { err: error.withDelivery('unknown').toWire() };
}

/** As it is, but never as something that JSON or the caller takes for no error. */
export function filtered(answering: Failing, error: unknown): Failure {
  if (MeshError.is(error)) return { err: error.toJSON() };
  if (isCrash(error)) return masked(answering, `an exception filter failed: ${describe(error)}`);
  if (error instanceof Error) return { err: { status: 'error', message: error.message } };
  if (!error || typeof error === 'function' || typeof error === 'symbol')
    return masked(answering, `an exception filter gave what cannot be sent as an error: ${describe(error)}`);
  if (isMasked(error)) return masked(answering, 'masked by Nest, which logs the exception itself');
  const errorId = isHandlerError(error) ? error.details.errorId : undefined;
  return errorId === undefined ? { err: error } : { err: error, errorId };
}

/** What the language throws is a fault of the program (in a filter, or a filter's plain value in an Observable), not a message. */
function isCrash(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

/** As Nest's own last filter would say it: a `MeshError` of a call that the handler made is none of the caller's business either. */
export function unfiltered(answering: Failing, error: unknown): Failure {
  if (!(error instanceof RpcException)) return masked(answering, describe(error));
  const payload: unknown = error.getError();
  if (typeof payload === 'object' && payload !== null) return filtered(answering, payload);
  return { err: { status: 'error', message: payload } };
}

/** Callers compare this shape to the letter, as on Nest's other transports: the id travels beside it. */
function masked(answering: Failing, text: string): Failure {
  const errorId = randomUUID();
  const { call, peer, logger } = answering;
  logger.error(`errorId ${errorId}: ${callText(call.pattern, peer, answering.kind)}: ${text}`);
  return { err: MASKED, errorId };
}

function isMasked(error: unknown): boolean {
  return (
    isRecord(error) &&
    error['message'] === MASKED.message &&
    error['status'] === MASKED.status &&
    Object.keys(error).length === 2
  );
}

/** Which call of whose, for a line of the log. */
export function callText(pattern: unknown, { service, nodeId, address }: Peer, kind?: 'channel'): string {
  const who = `${service === '' ? 'a caller' : service} (${nodeId === undefined ? '' : `node ${nodeId}, `}${address})`;
  const what = JSON.stringify(pattern);
  return kind === undefined ? `the call of ${what} by ${who}` : `the ${kind} ${what} of ${who}`;
}
