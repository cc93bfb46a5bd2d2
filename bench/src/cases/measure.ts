/**
 * One round the usual way: the client drives, and the processor time of both sides is shared out over what was done. Before that it
 * drives for a moment that does not count: both programs have slept while the other peers had their turns, and what the processor
 * and V8 have forgotten meanwhile would be most of a 99th percentile.
 */
import type { Pair } from '../pair.js';
import { monotonicMs, type Json, type Received, type Usage } from '../program/protocol.js';
import type { Case, Driven, Limits, Measurement } from './case.js';

/** How long the last events may take to arrive, in milliseconds, since the last one that did. */
const SILENCE_MS = 1_500;
const POLL_MS = 5;
/** What does not count before each round, as a share of its window. */
const LEAD = 0.25;

/** Units of work for each second, and the processor time of each. `lead`: what does not count before it, as a share of the window. */
export async function measureDrive(
  { name }: Case,
  { server, client }: Pair,
  { windowMs }: Limits,
  args: Json = null,
  lead = LEAD,
): Promise<Measurement> {
  await client.ask<Driven>('drive', { case: name, windowMs: windowMs * lead, args });
  const before = await usages(server, client);
  const driven = await client.ask<Driven>('drive', { case: name, windowMs, args });
  const after = await usages(server, client);
  return {
    value: (driven.count / driven.elapsedMs) * 1_000,
    ...perUnit(before, after, driven.count),
    ...(driven.latencyUs === undefined ? {} : { latencyUs: driven.latencyUs }),
  };
}

/** As {@link measureDrive}, for what is counted where it arrives. */
export async function measureArrivals(
  { name }: Case,
  pair: Pair,
  { windowMs }: Limits,
  args: Json = null,
): Promise<Measurement> {
  await drivenUntilArrived(pair, { case: name, windowMs: windowMs * LEAD, args });
  const before = await usages(pair.server, pair.client);
  const { driven, events, lastAtMs } = await drivenUntilArrived(pair, { case: name, windowMs, args });
  const after = await usages(pair.server, pair.client);
  if (events === 0) throw new Error(`none of ${driven.count} events arrived`);
  return {
    value: (events / (lastAtMs - driven.startedAtMs)) * 1_000,
    lost: driven.count - events,
    ...perUnit(before, after, events),
  };
}

/** Drives, and waits until all has arrived, or nothing more does. */
async function drivenUntilArrived(
  { server, client }: Pair,
  work: Readonly<{ case: string; windowMs: number; args: Json }>,
): Promise<{ readonly driven: Driven; readonly events: number; readonly lastAtMs: number }> {
  const counted = (await server.ask<Received>('received')).events;
  const driven = await client.ask<Driven>('drive', work);
  let arrived = await server.ask<Received>('received');
  for (let since = monotonicMs(); arrived.events - counted < driven.count;) {
    const next = await server.ask<Received>('received');
    if (next.events !== arrived.events) since = monotonicMs();
    else if (monotonicMs() - since > SILENCE_MS) break;
    arrived = next;
    // A pause, so that asking does not take the processor from what is measured.
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return { driven, events: arrived.events - counted, lastAtMs: arrived.lastAtMs };
}

type Usages = readonly [server: Usage, client: Usage];

function usages(server: Pair['server'], client: Pair['client']): Promise<Usages> {
  return Promise.all([server.ask<Usage>('usage'), client.ask<Usage>('usage')]);
}

function perUnit(
  before: Usages,
  after: Usages,
  count: number,
): Pick<Measurement, 'clientCpuUs' | 'serverCpuUs'> {
  return {
    serverCpuUs: (after[0].cpuUs - before[0].cpuUs) / count,
    clientCpuUs: (after[1].cpuUs - before[1].cpuUs) / count,
  };
}
