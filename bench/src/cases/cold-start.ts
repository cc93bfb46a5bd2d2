/** The first call of a process that has just begun: loading, finding, connecting, and the answer. */
import { checkEcho } from './calls.js';
import type { Case } from './case.js';

/** From the start of the process; `more` tells how much of it passed after the client was made. */
export const coldStart: Case = {
  name: 'cold-start',
  title: 'first call of a new process',
  group: 'cold-start',
  unit: 'ms',
  better: 'less',
  ability: 'call',
  async drive(client) {
    const startedAtMs = performance.now();
    await checkEcho(client, 100, 1);
    return { count: 1, elapsedMs: performance.now() - startedAtMs, startedAtMs };
  },
  async measure({ peer, surroundings }) {
    // Not for the programs that load this file.
    const { startClientTimed } = await import('../cold-client.js');
    const { totalMs, sinceLoadedMs } = await startClientTimed(peer, surroundings, coldStart.name);
    return { value: totalMs, more: { 'ms since loaded': sinceLoadedMs } };
  },
};
