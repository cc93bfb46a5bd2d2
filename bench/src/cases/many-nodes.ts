/** One client of a service with 1 to 1,000 nodes: what a call costs it. */
import { checkEcho, driveCalls } from './calls.js';
import type { Case } from './case.js';

/** The peers of these cases, by how many nodes they have; the first is what the others are held against. */
export const MANY_NODES = ['nodes-1', 'nodes-10', 'nodes-100', 'nodes-1000'] as const;

const BYTES = 100;
/** Enough calls for each node of a subset to have had its turn. */
const CHECKS = 10;

export const manyNodesCases: readonly Case[] = [overNodes(1), overNodes(128)];

function overNodes(inFlight: number): Case {
  return {
    name: `nodes-100b-${inFlight}`,
    title: `one client over 1, 10, 100 and 1,000 nodes, 100 B, ${inFlight} in flight`,
    group: 'nodes',
    unit: 'calls/s',
    ability: 'call',
    peers: MANY_NODES,
    baseline: MANY_NODES[0],
    async check(client) {
      for (let n = 0; n < CHECKS; n += 1) await checkEcho(client, BYTES, 16);
    },
    drive: (client, args) => driveCalls(client, BYTES, inFlight, args),
  };
}
