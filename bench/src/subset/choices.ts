/** The ways in which clients choose their subsets: the library's own one, and those that it is compared with. */
import { hashOf, seedOf, weightOf } from '../../node_modules/nestjs-mesh/dist/routing/rendezvous.js';
import { seeded, shuffled } from './random.js';

/** A client of the simulation. */
export interface Client {
  readonly id: string;
  /** Its place among all clients, which only a coordinator knows. */
  readonly number: number;
}

/** Chooses for one client; gives the ids of servers. */
export type Choose = (client: Client, servers: readonly string[], size: number) => readonly string[];

const hashes = new Map<string, number>();

function hashOfServer(id: string): number {
  let hash = hashes.get(id);
  if (hash === undefined) hashes.set(id, (hash = hashOf(id)));
  return hash;
}

/** What the library does. */
export const rendezvous: Choose = ({ id }, servers, size) => {
  const seed = seedOf(id);
  return servers
    .map((server) => ({ server, weight: weightOf(seed, hashOfServer(server)) }))
    .sort((a, b) => b.weight - a.weight || (a.server > b.server ? -1 : 1))
    .slice(0, size)
    .map(({ server }) => server);
};

/** Deterministic subsetting as in "Site Reliability Engineering", chapter 20: each round of clients deals all servers out. */
export const rounds: Choose = ({ number }, servers, size) => {
  const hands = Math.max(1, Math.floor(servers.length / size));
  const dealt = shuffled(servers, seeded(Math.floor(number / hands) + 1));
  const from = (number % hands) * size;
  return dealt.slice(from, from + size);
};

export const CHOICES = { rendezvous, rounds } as const;

/** The name of a choice. */
export type ChoiceName = keyof typeof CHOICES;
