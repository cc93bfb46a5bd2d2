/** Many idle clients of one server, in a process of their own. */
import type { Pair } from './pair.js';
import { Program } from './program/program.js';

/** Starts so many, each of which has made one call; resolves with the program that holds them. */
export async function startCrowd({ peer, surroundings }: Pair, count: number): Promise<Program> {
  const crowd = Program.start(`${peer.label}, ${count} clients`, peer.client);
  try {
    await crowd.ask('crowd', { surroundings, count });
    return crowd;
  } catch (error) {
    await crowd.stop();
    throw error;
  }
}
