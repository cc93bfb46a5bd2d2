/** The load of this node: how many calls it takes at a time, and what it tells others of how busy it is. */
import type { AnnouncedHandlers } from '../registry/announced.js';
import type { DeadlineQueue } from '../transport/deadline-queue.js';
import type { InboundCall } from '../transport/inbound-call.js';
import type { InboundEvent, Origin, PacketChannel } from '../transport/packet-channel.js';
import type { RawChannel } from '../transport/raw-channel.js';
import { Admission } from './admission.js';
import type { ChannelOpening, NodeHandlers } from './handlers.js';
import { LoadReports } from './load-reports.js';
import type { ResolvedOptions } from './mesh-options.js';

/** How busy the node is, at the moment of asking. */
export interface LoadStatus {
  /** Calls that it is answering, those that wait for their turn included. */
  readonly open: number;
  /** Calls that wait for their turn. */
  readonly queued: number;
  /** Calls that were refused since the node began, since it had too much to do (option `maxConcurrency`). */
  readonly refused: number;
  /** How late the event loop was in the last heartbeat interval, in ms: the mean. Measured while there are callers. */
  readonly delayMs: number;
}

/** What is needed of the node. */
export interface OwnLoadDeps {
  readonly options: ResolvedOptions;
  readonly deadlines: DeadlineQueue;
  /** The channels on which peers may call. */
  channels(): Iterable<PacketChannel>;
  /** Calls that are being answered. */
  open(): number;
}

export class OwnLoad {
  private admission: Admission<InboundCall, Origin> | undefined;
  private readonly reports: LoadReports;

  constructor(private readonly deps: OwnLoadDeps) {
    this.reports = new LoadReports({
      intervalMs: deps.options.heartbeatIntervalMs,
      channels: () => deps.channels(),
      open: () => deps.open(),
    });
  }

  get status(): LoadStatus {
    const { admission, reports } = this;
    return {
      open: this.deps.open(),
      queued: admission?.queued ?? 0,
      refused: admission?.refused ?? 0,
      delayMs: reports.delayMs,
    };
  }

  /** The handlers behind the limit of the node; without one, the handlers themselves. */
  limit(handlers: NodeHandlers): NodeHandlers {
    const { maxConcurrency, maxQueue } = this.deps.options;
    if (maxConcurrency === Infinity) return handlers;
    const { deadlines } = this.deps;
    const admission = new Admission<InboundCall, Origin>(
      { maxConcurrency, maxQueue },
      { now: () => performance.now(), deadlines },
      (call, origin) => handlers.onRequest(call, origin),
    );
    this.admission = admission;
    return new LimitedHandlers(handlers, admission);
  }

  /** Tells callers from now on. */
  start(): void {
    this.reports.start();
  }

  /** Nothing new is taken: what waits is refused. */
  stop(): void {
    this.reports.stop();
    this.admission?.drain();
  }
}

const NOTHING_ANNOUNCED: AnnouncedHandlers = { events: [], idempotent: [] };

class LimitedHandlers implements NodeHandlers {
  constructor(
    private readonly handlers: NodeHandlers,
    private readonly admission: Admission<InboundCall, Origin>,
  ) {}

  get announced(): AnnouncedHandlers {
    return this.handlers.announced ?? NOTHING_ANNOUNCED;
  }

  onRequest(call: InboundCall, origin: Origin): void {
    this.admission.admit(call, origin);
  }

  onEvent(event: InboundEvent, origin: Origin): void {
    this.handlers.onEvent(event, origin);
  }

  hasChannel(name: string | undefined): boolean {
    return this.handlers.hasChannel(name);
  }

  onChannel(channel: RawChannel, opening: ChannelOpening): void {
    this.handlers.onChannel(channel, opening);
  }
}
