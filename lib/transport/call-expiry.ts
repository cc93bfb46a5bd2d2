/** The end of a call that its handler does not answer in time: the callee's own limit, beside the one of the caller. */
import { MeshError } from '../protocol/mesh-error.js';
import type { DeadlineQueue, Timed } from './deadline-queue.js';

/** A call that can expire. */
export interface Expiring {
  readonly pattern: unknown;
  /** What the caller had left when the call came in, in ms; `undefined` when it waits for ever. */
  readonly timeoutMs: number | undefined;
  expire(reason: MeshError): void;
}

/** Waits in the queue from its making, until the time is over or {@link stop}. */
export class CallExpiry implements Timed {
  timedPrevious: Timed | undefined = undefined;
  timedNext: Timed | undefined = undefined;
  timedList: Timed['timedList'] = undefined;
  timedAt = 0;

  constructor(
    private readonly call: Expiring,
    private readonly limitMs: number,
    private readonly deadlines: DeadlineQueue,
  ) {
    deadlines.add(this, Math.min(limitMs, Math.ceil(call.timeoutMs ?? limitMs)));
  }

  stop(): void {
    this.deadlines.remove(this);
  }

  onTimeout(): void {
    const { call, limitMs } = this;
    const { timeoutMs = Infinity } = call;
    const limit =
      timeoutMs < limitMs
        ? `the ${timeoutMs} ms that its caller had left`
        : `${limitMs} ms (timeoutMs of its handler)`;
    call.expire(
      new MeshError('DEADLINE_EXCEEDED', `${JSON.stringify(call.pattern)} was not answered within ${limit}`),
    );
  }
}
