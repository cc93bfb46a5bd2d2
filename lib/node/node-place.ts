/** A node as the place of calls: what they tell of its load and of its health. */
import type { MeshError } from '../protocol/mesh-error.js';
import type { NodeHealth } from '../routing/ejection.js';
import type { NodeLoad } from '../routing/node-load.js';
import type { CallOutcome, CallPlace } from '../transport/outbound-call.js';

export class NodePlace<Node> implements CallPlace {
  constructor(
    private readonly load: NodeLoad<Node>,
    private readonly health: NodeHealth,
  ) {}

  begin(): void {
    this.load.begin();
    this.health.begin();
  }

  began(tookMs: number, nowMs: number): void {
    this.onAnswer(tookMs, nowMs);
  }

  end(outcome: CallOutcome, tookMs: number | undefined, nowMs: number, reason: MeshError | undefined): void {
    const { load, health } = this;
    load.end();
    switch (outcome) {
      case 'answered':
        // What has begun was told then.
        if (tookMs !== undefined) this.onAnswer(tookMs, nowMs);
        return;
      case 'failed':
        load.failed(tookMs ?? 0, nowMs);
        health.onFailure(reason?.message ?? 'no answer', reason?.cause);
        return;
      case 'busy':
        // Busy is not dead: it gets fewer calls, and is not left out.
        load.busy(tookMs ?? 0, nowMs);
        health.onNeutral();
        return;
      case 'neutral':
        health.onNeutral();
    }
  }

  private onAnswer(tookMs: number, nowMs: number): void {
    if (this.health.onAnswer()) this.load.recovered(tookMs, nowMs);
    else this.load.answered(tookMs, nowMs);
  }
}
