/** A client process that is started, makes one call, and ends. */
import { Program } from './program/program.js';
import { monotonicMs, type Surroundings } from './program/protocol.js';
import type { Peer } from './peers/peer.js';

/** How long it took until the first answer was there. */
export interface ColdStart {
  /** Since the process was started. */
  readonly totalMs: number;
  /** Since its code was loaded: making the client, connecting, and the call. */
  readonly sinceLoadedMs: number;
}

/** Times one such client; `name` is the case whose `drive` makes the call. */
export async function startClientTimed(
  peer: Peer,
  surroundings: Surroundings,
  name: string,
): Promise<ColdStart> {
  const start = monotonicMs();
  const client = Program.start(`${peer.label}, cold client`, peer.client);
  try {
    // Answered once everything is loaded.
    await client.ask('usage');
    const loaded = monotonicMs();
    await client.ask('connect', surroundings);
    await client.ask('drive', { case: name, windowMs: 1 });
    const end = monotonicMs();
    return { totalMs: end - start, sinceLoadedMs: end - loaded };
  } finally {
    await client.stop();
  }
}
