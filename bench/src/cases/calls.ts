/** Calls with so many in flight: each answer makes room for the next call. */
import { messageOf, type Client, type Message } from '../peers/peer.js';
import { monotonicMs } from '../program/protocol.js';
import type { Case, DriveArgs, Driven } from './case.js';
import { Latencies } from './latencies.js';

/** Calls of all sizes, and how many at once. */
export const callCases: readonly Case[] = [
  calls(100, 1, { group: 'calls', latency: true, quick: true }),
  calls(100, 16, { group: 'calls' }),
  calls(100, 128, { group: 'calls', quick: true }),
  calls(100, 1_024, { group: 'calls' }),
  calls(10_000, 32, { group: 'sizes', quick: true }),
  calls(1_000_000, 8, { group: 'sizes', quick: true }),
];

function calls(
  bytes: number,
  inFlight: number,
  { latency = false, ...rest }: Pick<Case, 'group' | 'quick'> & { latency?: boolean },
): Case {
  const size =
    bytes >= 1_000_000 ? `${bytes / 1_000_000} MB` : bytes >= 1_000 ? `${bytes / 1_000} KB` : `${bytes} B`;
  return {
    name: `calls-${size.toLowerCase().replace(' ', '')}-${inFlight}`,
    title: `${size}, ${inFlight.toLocaleString('en')} in flight`,
    unit: 'calls/s',
    ability: 'call',
    ...rest,
    check: (client) => checkEcho(client, bytes, Math.min(inFlight, 16)),
    drive: (client, args) => driveCalls(client, bytes, inFlight, args, latency ? new Latencies() : undefined),
  };
}

/** Throws unless each of several calls at once has its own answer. */
export async function checkEcho(client: Client, bytes: number, inFlight: number): Promise<void> {
  const sent = Array.from({ length: inFlight }, (_, id) => messageOf(bytes, id));
  const answers = await Promise.all(sent.map((message) => callOf(client)(message)));
  for (const [n, answer] of answers.entries()) {
    if (answer.id !== n || answer.text !== sent[n]?.text) throw new Error(`call ${n} has a wrong answer`);
  }
}

/** Calls for `windowMs`, then waits for those still open. */
export async function driveCalls(
  client: Client,
  bytes: number,
  inFlight: number,
  { windowMs }: DriveArgs,
  latencies?: Latencies,
): Promise<Driven> {
  const call = callOf(client);
  const message = messageOf(bytes);
  const startedAtMs = monotonicMs();
  const start = performance.now();
  const end = start + windowMs;
  let count = 0;
  const chain = async (): Promise<void> => {
    for (let began = performance.now(); began < end;) {
      await call(message);
      const now = performance.now();
      latencies?.add(now - began);
      began = now;
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, chain));
  const elapsedMs = performance.now() - start;
  return { count, elapsedMs, startedAtMs, ...(latencies && { latencyUs: latencies.summary() }) };
}

/** What the client calls with. */
export function callOf(client: Client): (message: Message) => Promise<Message> {
  if (client.call === undefined) throw new Error('this peer cannot call');
  return client.call;
}
