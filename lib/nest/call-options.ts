/** What holds for the calls of a client: what was set by hand, and what the call that they are part of leaves them. */
import { show } from '../node/option-checks.js';
import { checkHedge, checkRetry, checkTimeoutMs } from '../node/resolve-options.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { EventAck, Metadata } from '../protocol/packet.js';
import type { CallRetry } from '../transport/outbound-call.js';

/** What `with()` sets for the calls of a client. */
export interface MeshCallOptions {
  /** How long a call may wait for its answer (a stream: for its first value), in ms; 0 = for ever. */
  readonly timeoutMs?: number | undefined;
  /** Strings that travel beside the data; added to those set before. */
  readonly metadata?: Metadata | undefined;
  /** Aborting it cancels the calls. */
  readonly signal?: AbortSignal | undefined;
  /**
   * What events wait for: `'received'`, that the node has given it to its handlers; `'handled'`, that all of them have ended
   * well. @default only that the event was handed to the transport
   */
  readonly ack?: EventAck | undefined;
  /**
   * How calls are made again that have failed: `{ attempts: 5 }`, with what is left out as the node has it, or `false` for never.
   * @default as the option `retry` of the node says
   */
  readonly retry?: CallRetry | false | undefined;
  /**
   * True when the calls may run twice: then they are made again also when they may have run. @default what the nodes of the service
   * have announced for their handlers
   */
  readonly idempotent?: boolean | undefined;
  /**
   * A call that has no answer after so long, in ms, is made a second time on another node; the first answer counts, and the other call is
   * cancelled. Only for calls that may run twice. @default never
   */
  readonly hedgeAfterMs?: number | undefined;
}

/** The call that is being handled, as its `MeshContext` knows it. */
export interface MeshCallScope {
  /** When its caller gives up, in epoch milliseconds; `undefined` when it waits for ever. */
  readonly deadline: number | undefined;
  /** Aborts when its caller cancels, gives up or is lost. */
  readonly signal: AbortSignal;
  getMetadata(): Metadata | undefined;
}

/** The options of a client, with the deadline that it has from a {@link MeshCallScope}. */
export interface BoundCallOptions extends Omit<MeshCallOptions, 'retry'> {
  readonly retry?: CallRetry | undefined;
  /** The calls end at this instant at the latest, in epoch milliseconds. */
  readonly deadline?: number | undefined;
}

/** The options, with others that were set later. Throws a `MeshError` when one is wrong. */
export function combined(call: BoundCallOptions, options: MeshCallOptions): BoundCallOptions {
  return {
    ...call,
    timeoutMs: options.timeoutMs === undefined ? call.timeoutMs : checkTimeoutMs(options.timeoutMs),
    metadata: options.metadata === undefined ? call.metadata : { ...call.metadata, ...options.metadata },
    signal: anyOf(call.signal, options.signal),
    ack: options.ack === undefined ? call.ack : checkAck(options.ack),
    retry: options.retry === undefined ? call.retry : checkRetry(options.retry),
    idempotent: options.idempotent ?? call.idempotent,
    hedgeAfterMs: options.hedgeAfterMs === undefined ? call.hedgeAfterMs : checkHedge(options.hedgeAfterMs),
  };
}

/** What events wait for. Throws a `MeshError` when it is nothing that can be waited for. */
export function checkAck(ack: EventAck): EventAck {
  if (ack === 'received' || ack === 'handled') return ack;
  throw new MeshError('INVALID_ARGUMENT', `ack must be 'received' or 'handled', not ${show(ack)}`, {
    delivery: 'not-sent',
  });
}

/** The options of calls that are part of another one. */
export function within(call: BoundCallOptions, scope: MeshCallScope): BoundCallOptions {
  const { deadline, signal } = scope;
  return {
    ...call,
    metadata: { ...scope.getMetadata(), ...call.metadata },
    signal: anyOf(call.signal, signal),
    deadline: deadline === undefined ? call.deadline : Math.min(deadline, call.deadline ?? deadline),
  };
}

/** A signal that aborts when one of the two does. */
export function anyOf(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  if (one === undefined || other === undefined || one === other) return one ?? other;
  return AbortSignal.any([one, other]);
}

/** The error of a call whose signal was aborted. */
export function abortError(signal: AbortSignal): MeshError {
  return new MeshError('CANCELLED', 'the signal of the call was aborted', { cause: signal.reason });
}

/** The smaller of a limit in ms (0 = none) and what is left until `deadline`. Throws a `MeshError` when nothing is left. */
export function remaining(timeoutMs: number, deadline: number | undefined): number {
  if (deadline === undefined) return timeoutMs;
  const leftMs = deadline - Date.now();
  if (leftMs <= 0) {
    throw new MeshError('DEADLINE_EXCEEDED', 'the deadline of the call that this one is part of is over', {
      delivery: 'not-sent',
    });
  }
  return timeoutMs === 0 ? leftMs : Math.min(timeoutMs, leftMs);
}
