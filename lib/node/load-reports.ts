/** Tells callers how busy this node is: once in a heartbeat, and only where what they were told last has become wrong. */
import type { LoadReport } from '../protocol/packet.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { LoopDelay } from './loop-delay.js';

/** Calls that are open are told anew when they differ by more than this share, and by so many. */
const OPEN_SHARE = 0.2;
const LEAST_CALLS = 2;
/** The delay is told anew when it differs by more than this. */
const DELAY_MS = 5;
/** Receivers forget after 10 s: what is not 0 is said again in time. */
const AGAIN_MS = 5_000;
/** Nodes that have started together do not speak together. */
const JITTER = 0.1;

/** What a receiver was told. */
export interface Told extends LoadReport {
  /** When, on the clock of `performance.now()`. */
  readonly atMs: number;
}

/** True when the receiver is to be told; `told` is `undefined` for one that was told nothing yet. */
export function isNews(told: Told | undefined, { open, delayMs }: LoadReport, nowMs: number): boolean {
  const before = told ?? { open: 0, delayMs: 0, atMs: nowMs };
  const calls = Math.abs(open - before.open);
  if (calls >= LEAST_CALLS && calls > OPEN_SHARE * before.open) return true;
  if (Math.abs(delayMs - before.delayMs) > DELAY_MS) return true;
  return told !== undefined && (open > 0 || delayMs > 0) && nowMs - told.atMs >= AGAIN_MS;
}

/** What the reports are made of. */
export interface LoadReportsDeps {
  readonly intervalMs: number;
  /** Where callers may be. */
  channels(): Iterable<PacketChannel>;
  /** Calls that are being answered. */
  open(): number;
}

export class LoadReports {
  /** The delay of the event loop at the last look, in ms. */
  delayMs = 0;
  private readonly delay = new LoopDelay();
  private readonly told = new WeakMap<PacketChannel, Told>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly deps: LoadReportsDeps) {}

  /** Looks once in each interval from now on. */
  start(): void {
    if (this.timer === undefined) this.later();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.delay.stop();
  }

  private later(): void {
    const delayMs = this.deps.intervalMs * (1 - JITTER + 2 * JITTER * Math.random());
    this.timer = setTimeout(() => {
      this.look();
      this.later();
    }, delayMs).unref();
  }

  private look(): void {
    const takers = [...this.deps.channels()].filter(({ peer }) => peer.takesLoad);
    if (takers.length === 0) {
      this.delay.stop();
      this.delayMs = 0;
      return;
    }
    this.delay.start();
    this.delayMs = this.delay.meanMs();
    const now = performance.now();
    const report = { open: this.deps.open(), delayMs: Math.round(10 * this.delayMs) / 10 };
    for (const channel of takers)
      if (isNews(this.told.get(channel), report, now)) this.tell(channel, report, now);
  }

  private tell(channel: PacketChannel, report: LoadReport, atMs: number): void {
    try {
      channel.report(report);
      this.told.set(channel, { ...report, atMs });
    } catch {
      // It does not read: what it is told would come too late anyway.
    }
  }
}
