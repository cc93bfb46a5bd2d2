/** Draining: peers are asked to send nothing new, and what is open is waited for. */
import type { PacketChannel } from '../transport/packet-channel.js';
import type { RawChannel } from '../transport/raw-channel.js';

/** A peer that does not end its half (it may not know how) is done when nothing was open for this long. */
const QUIET_MS = 200;
const LOOK_EVERY_MS = 20;

/**
 * Sends drain on every channel, then `stopAccepting`, then waits until all have closed or are quiet, at the longest
 * `timeoutMs`. Raw channels are half-closed, so that their readers see an end. Resolves with the number of calls that are still open.
 */
export async function drainChannels(
  channels: ReadonlySet<PacketChannel>,
  raw: ReadonlySet<RawChannel>,
  timeoutMs: number,
  stopAccepting: () => void,
): Promise<number> {
  for (const channel of channels) channel.drain();
  for (const channel of raw) channel.end();
  stopAccepting();
  const giveUpAt = performance.now() + timeoutMs;
  let quietSince = performance.now();
  for (;;) {
    if (channels.size === 0 && raw.size === 0) return 0;
    const now = performance.now();
    const open = openCalls(channels);
    if (open > 0 || raw.size > 0) quietSince = now;
    if (now >= giveUpAt) return open;
    if (now - quietSince >= QUIET_MS) return 0;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function openCalls(channels: ReadonlySet<PacketChannel>): number {
  let count = 0;
  for (const channel of channels) count += channel.openCalls;
  return count;
}
