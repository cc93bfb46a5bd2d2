/** The usual set-up of a row: three nodes in two languages, and two clients that send a bit of everything. */
import type { Program } from '../program.js';
import type { Scene } from '../row.js';
import type { Kind } from '../settings.js';

/** Of each client, in a second. */
export const MIXED: Readonly<Record<Kind, number>> = { work: 60, read: 60, stream: 10, acked: 20, event: 20 };

/** Before the fault, so that there is something usual. */
export const BEFORE_MS = 2_000;

/** Two Nest nodes and a Python node. */
export function threeNodes({ cluster }: Scene): Promise<[Program, Program, Program]> {
  return Promise.all([cluster.nest(), cluster.nest(), cluster.python()]);
}

/** Two clients under way. */
export async function mixedLoad({ cluster, pass }: Scene): Promise<void> {
  await Promise.all([cluster.client(MIXED), cluster.client(MIXED)]);
  await pass(BEFORE_MS);
}
