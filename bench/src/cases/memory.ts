/** Resident memory: under load, and of a peer that is connected and idle. */
import type { Pair } from '../pair.js';
import type { Program } from '../program/program.js';
import type { Usage } from '../program/protocol.js';
import { checkEcho, driveCalls } from './calls.js';
import type { Case, Limits, Measurement } from './case.js';

const MB = 1_000_000;
const KB = 1_000;
/** How often memory is looked at while calls are under way, in milliseconds. */
const SAMPLE_MS = 50;
/** So many clients of one server, the first of which bear the cost of all that is there once. */
const FIRST_CLIENTS = 100;
const FURTHER_CLIENTS = 400;
/** What a process gives back, it gives back after a while. */
const SETTLE_MS = 500;

export const memoryCases: readonly Case[] = [underLoad(128), underLoad(1_024), idleCallers(), idleNodes()];

/** Calls with so many in flight: the most that both processes hold, and what is left after. */
function underLoad(inFlight: number): Case {
  const name = `memory-load-${inFlight}`;
  return {
    name,
    title: `memory of both processes, 100 B, ${inFlight.toLocaleString('en')} in flight`,
    group: 'memory',
    unit: 'MB',
    better: 'less',
    ability: 'call',
    fresh: true,
    check: (client) => checkEcho(client, 100, 16),
    drive: (client, args) => driveCalls(client, 100, inFlight, args),
    measure: (pair, limits) => measureLoad(name, pair, limits),
  };
}

async function measureLoad(name: string, pair: Pair, { windowMs }: Limits): Promise<Measurement> {
  const most = { server: 0, client: 0 };
  const driven = new AbortController();
  const sampling = (async () => {
    while (!driven.signal.aborted) {
      const [server, client] = await usages(pair);
      most.server = Math.max(most.server, server.rssBytes);
      most.client = Math.max(most.client, client.rssBytes);
      await pause(SAMPLE_MS);
    }
  })();
  try {
    await pair.client.ask('drive', { case: name, windowMs });
  } finally {
    driven.abort();
    await sampling;
  }
  const [server, client] = await settled(pair);
  return {
    value: (most.server + most.client) / MB,
    more: {
      'server MB': most.server / MB,
      'client MB': most.client / MB,
      'MB after': (server.rssBytes + client.rssBytes) / MB,
    },
  };
}

/** What a server holds for each client that has called once and is idle. */
function idleCallers(): Case {
  return {
    name: 'memory-idle-server',
    title: 'memory of a server for each idle client',
    group: 'memory',
    unit: 'KB',
    better: 'less',
    ability: 'call',
    fresh: true,
    // The clients of NATS and Redis are connected to the broker, and Moleculer's are nodes, each of which connects to all others.
    peers: ['mesh', 'mesh-tls', 'nest-tcp', 'nest-grpc', 'floor-http2', 'floor-net'],
    check: (client) => checkEcho(client, 100, 1),
    async measure(pair) {
      const { startCrowd } = await import('../crowd.js');
      const first = await startCrowd(pair, FIRST_CLIENTS);
      try {
        const [before] = await settled(pair);
        const further = await startCrowd(pair, FURTHER_CLIENTS);
        try {
          const [after] = await settled(pair);
          return { value: (after.rssBytes - before.rssBytes) / FURTHER_CLIENTS / KB };
        } finally {
          await further.stop();
        }
      } finally {
        await first.stop();
      }
    },
  };
}

/** The other side of the same: what a caller holds for each node that it has called once. */
function idleNodes(): Case {
  return {
    name: 'memory-idle-client',
    title: 'memory of a caller for each idle node',
    group: 'memory',
    unit: 'KB',
    better: 'less',
    peers: ['mesh', 'mesh-tls'],
    baseline: 'mesh',
    async measure({ peer, surroundings }) {
      const { idleClientBytes } = await import('../idle-client.js');
      const bytes = await idleClientBytes(surroundings, peer.name === 'mesh-tls', settledUsage);
      return { value: bytes / KB };
    },
  };
}

/** After all garbage was collected, several times, since what is freed by one collection frees more at the next. */
async function settledUsage(program: Program): Promise<Usage> {
  for (let times = 0; times < 3; times += 1) {
    await program.ask<Usage>('usage', { collect: true });
    await pause(SETTLE_MS);
  }
  return program.ask<Usage>('usage', { collect: true });
}

function settled({ server, client }: Pair): Promise<readonly [server: Usage, client: Usage]> {
  return Promise.all([settledUsage(server), settledUsage(client)]);
}

function usages({ server, client }: Pair): Promise<readonly [server: Usage, client: Usage]> {
  return Promise.all([server.ask<Usage>('usage'), client.ask<Usage>('usage')]);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
