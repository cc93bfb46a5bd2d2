/**
 * Nodes that ask Redis for what a node at rest asks, each over a connection of its own, without the library: so that two
 * cores can hold 10,000 of them.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { NodePlan } from './fleet.js';
import { recordOf } from './library.js';

const INTERVAL_MS = 2_000;
const JITTER = 0.1;
const LEASE_MS = 10_000;
/** How long a member stays in the index after its lease. */
const GRACE_MS = 60_000;
/** What one read of the log takes at most. */
const LOG_ENTRIES = '1000';
/** So many connect at one time. */
const STARTING = 200;

/** Starts a node for each plan; resolves when all have written their records. */
export async function replayNodes(url: string, plans: readonly NodePlan[]): Promise<void> {
  const { hostname, port } = new URL(url);
  for (let from = 0; from < plans.length; from += STARTING) {
    const some = plans.slice(from, from + STARTING);
    await Promise.all(some.map((plan) => startNode(connect(Number(port), hostname), plan)));
  }
}

async function startNode(socket: Socket, { service, watches }: NodePlan): Promise<void> {
  socket.setNoDelay(true);
  await once(socket, 'connect');
  const record = recordOf(service);
  const { id, host, port, metadata } = record;
  const json = JSON.stringify({ id, service_name: service, host, port, metadata });
  const key = `mesh:service:${service}:${id}`;
  let lookedAt = Date.now();
  const beat = (): void => {
    const now = Date.now();
    const positions = watches.map(() => `${lookedAt}-0`);
    const logs = watches.map((watched) => `mesh:changes:${watched}`);
    const since = String(now - GRACE_MS);
    lookedAt = now;
    socket.write(
      command('set', key, json, 'PX', String(LEASE_MS)) +
        command('zadd', `mesh:index:${service}`, String(now + LEASE_MS), id) +
        command('mget', 'mesh:epoch', 'mesh:scan') +
        watches
          .map((watched) => command('zrangebyscore', `mesh:index:${watched}`, since, String(now)))
          .join('') +
        command('xread', 'COUNT', LOG_ENTRIES, 'STREAMS', ...logs, ...positions),
    );
    setTimeout(beat, INTERVAL_MS * (1 - JITTER + 2 * JITTER * Math.random()));
  };
  socket.write(
    command('hello', '3') + watches.map((watched) => command('subscribe', `mesh:events:${watched}`)).join(''),
  );
  await once(socket, 'data');
  // The answers are those of a real node; nobody reads them here.
  socket.resume();
  // Not all in the same instant, as nodes that run already are not.
  setTimeout(beat, INTERVAL_MS * Math.random());
}

/** One command, as the protocol of Redis has it. */
function command(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}
