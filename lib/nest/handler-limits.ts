/** What the handler of one pattern allows: how long a call may take, and how many there may be at a time. */
import { MeshError } from '../protocol/mesh-error.js';
import type { DeadlineQueue } from '../transport/deadline-queue.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { ReadExtras } from './handler-extras.js';

/** How much one more call changes the mean. */
const NEWEST_SHARE = 0.1;
/** The bounds of the hint that refused callers get. */
const LEAST_HINT_MS = 10;
const MOST_HINT_MS = 5_000;

export class HandlerLimits {
  private running = 0;
  /** Since when as many as allowed have been running, on the clock of `performance.now()`. */
  private fullSince = 0;
  /** How long it takes until one of them ends: the mean. */
  private roomMs = 0;

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
      const details = {
        retryAfterMs: Math.min(MOST_HINT_MS, Math.max(LEAST_HINT_MS, Math.ceil(this.roomMs))),
      };
      call.fail(new MeshError('RESOURCE_EXHAUSTED', message, { delivery: 'refused', details }).toWire());
      return false;
    }
    this.running += 1;
    if (this.running === maxConcurrency) this.fullSince = performance.now();
    call.limit(timeoutMs, this.deadlines);
    return true;
  }

  readonly end = (): void => {
    if (this.running === this.extras.maxConcurrency) {
      const tookMs = performance.now() - this.fullSince;
      this.roomMs = this.roomMs === 0 ? tookMs : this.roomMs + NEWEST_SHARE * (tookMs - this.roomMs);
    }
    this.running -= 1;
  };
}
