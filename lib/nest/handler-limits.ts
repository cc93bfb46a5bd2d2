/** What the handler of one pattern allows: how long a call may take, and how many there may be at a time. */
import { MeshError } from '../protocol/mesh-error.js';
import type { DeadlineQueue } from '../transport/deadline-queue.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { ReadExtras } from './handler-extras.js';

export class HandlerLimits {
  private running = 0;

  constructor(
    private readonly route: string,
    private readonly extras: Pick<ReadExtras, 'timeoutMs' | 'maxConcurrency'>,
    private readonly deadlines: DeadlineQueue,
  ) {}

  /** Begins a call, or refuses it. True when it has begun: then {@link end} must follow when its handler has ended. */
  begin(call: InboundCall): boolean {
    const { timeoutMs, maxConcurrency } = this.extras;
    if (this.running >= maxConcurrency) {
      const message = `"${this.route}" has ${this.running} calls under way here, as many as its handler allows (maxConcurrency)`;
      call.fail(new MeshError('RESOURCE_EXHAUSTED', message, { delivery: 'refused' }).toWire());
      return false;
    }
    this.running += 1;
    call.limit(timeoutMs, this.deadlines);
    return true;
  }

  readonly end = (): void => {
    this.running -= 1;
  };
}
