/** Draining: peers are asked to send nothing new, and what is open is waited for. */
import type { PacketChannel } from '../transport/packet-channel.js';
import type { RawChannel } from '../transport/raw-channel.js';

/** A call on a stream of its own. */
export interface ServedCall {
  readonly whenClosed: Promise<void>;
}

/** What is drained. */
export interface Drained {
  /** The packet channels that peers have opened; they end them when they have nothing more to send. */
  readonly inbound: ReadonlySet<PacketChannel>;
  /** The packet channels that this node has opened, on which peers may call back. */
  readonly dialled: readonly PacketChannel[];
  /** The raw channels that peers have opened. */
  readonly raw: Iterable<RawChannel> & { readonly size: number };
  /** The calls on streams of their own. */
  readonly streams: { readonly size: number };
}

/** What a node drains that has told nobody of itself: nothing, unless the nodes that it has dialled are calling it back. */
export function ofCaller(
  { channels: inbound, raw, streams }: Pick<Drained, 'raw' | 'streams'> & { channels: Drained['inbound'] },
  dialled: readonly PacketChannel[],
): Drained | undefined {
  const serves = raw.size > 0 || streams.size > 0 || dialled.some((channel) => channel.servedCalls > 0);
  return serves ? { inbound, raw, streams, dialled } : undefined;
}

/** How a drain ended. */
export interface DrainReport {
  /** Calls that were under way when it began. */
  readonly open: number;
  /** Calls that were still under way when the time was over. */
  readonly left: number;
  readonly tookMs: number;
}

/** A peer that knows part 1 only never ends its half: it is done when nothing was open for this long. */
const QUIET_MS = 100;
/** The other peers end their half once they have heard of the drain; this long is given to the slowest of links. */
const QUIET_LIMIT_MS = 1_000;
const LOOK_EVERY_MS = 10;

/**
 * Sends drain on every packet channel and half-closes the raw ones, so that their readers see an end; then waits until all
 * of it has ended or is quiet, at the longest `timeoutMs`.
 */
export async function drain(drained: Drained, timeoutMs: number): Promise<DrainReport> {
  const { inbound, dialled, raw } = drained;
  const began = performance.now();
  const open = servedCalls(drained);
  for (const channel of [...inbound, ...dialled]) tell(channel);
  for (const channel of raw) channel.end();
  let quietSince = began;
  for (;;) {
    const now = performance.now();
    const left = servedCalls(drained);
    if (left > 0 || raw.size > 0) quietSince = now;
    const allEnded = left === 0 && raw.size === 0 && inbound.size === 0 && dialled.length === 0;
    const quietMs = [...inbound].some((channel) => !channel.peer.plain) ? QUIET_LIMIT_MS : QUIET_MS;
    if (allEnded || now - quietSince >= quietMs || now - began >= timeoutMs)
      return { open, left, tookMs: now - began };
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** A peer that reads nothing cannot be told either. */
function tell(channel: PacketChannel): void {
  try {
    channel.drain();
  } catch {
    // Too much waits for it already; it is closed with the others when the time is over.
  }
}

/** Calls that are being answered. */
export function servedCalls({
  inbound,
  dialled,
  streams,
}: Pick<Drained, 'inbound' | 'dialled' | 'streams'>): number {
  let count = streams.size;
  for (const channel of inbound) count += channel.servedCalls;
  for (const channel of dialled) count += channel.servedCalls;
  return count;
}
