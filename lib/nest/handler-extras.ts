/** What a handler says of itself beside its pattern: `@MessagePattern('orders.get', { timeoutMs: 500, idempotent: true })`. */
import { OptionChecks } from '../node/option-checks.js';

/** The extras of a message handler that the mesh knows. Others are left to whoever put them there. */
export interface MeshHandlerExtras {
  /**
   * How long the handler may take until it answers (a stream: until its first value), in ms; then the caller gets
   * `DEADLINE_EXCEEDED` and `ctx.signal` aborts. A caller that has less time left is not made to wait longer. 0 = no limit of
   * its own. @default 0
   */
  readonly timeoutMs?: number | undefined;
  /** True when a call that may have run can be made again without harm; announced to callers in the registry. @default false */
  readonly idempotent?: boolean | undefined;
  /**
   * How many calls this node gives to the handler at a time, for each of its patterns; more are refused at once with
   * `RESOURCE_EXHAUSTED`. A call counts until its handler has ended (a stream: until its last value), also when its caller has
   * given up; behind an interceptor the handler counts as ended then. @default no limit
   */
  readonly maxConcurrency?: number | undefined;
  /**
   * What a caller streams is given to the handler as an AsyncIterable, which holds the caller back, or as an Observable, which
   * cannot. @default 'iterable'
   */
  readonly input?: 'iterable' | 'observable' | undefined;
}

const INPUTS = ['iterable', 'observable'] as const;

/** The extras with their defaults, and what is wrong with those that were given. */
export interface ReadExtras {
  readonly timeoutMs: number;
  readonly idempotent: boolean;
  readonly maxConcurrency: number;
  readonly input: 'iterable' | 'observable';
  /** One sentence each. */
  readonly faults: readonly string[];
}

/** Reads the extras of a message handler; where a value is wrong its default stands. */
export function readHandlerExtras(given: Readonly<Record<string, unknown>>): ReadExtras {
  const extras = given as MeshHandlerExtras;
  const check = new OptionChecks();
  return {
    timeoutMs: check.duration('timeoutMs', extras.timeoutMs, 0),
    idempotent: check.boolean('idempotent', extras.idempotent, false),
    maxConcurrency: check.count('maxConcurrency', extras.maxConcurrency, Infinity),
    input: check.oneOf('input', extras.input, INPUTS, 'iterable'),
    faults: check.faults,
  };
}
