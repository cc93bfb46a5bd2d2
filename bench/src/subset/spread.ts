/** How even the subsets are over the servers, and how much of them changes when a server joins or leaves. */
import { CHOICES, type ChoiceName, type Client } from './choices.js';
import { seeded, uuid } from './random.js';

/** So many clients of so many servers, each with so large a subset. */
export interface Setting {
  readonly clients: number;
  readonly servers: number;
  readonly size: number;
}

/** What a way of choosing gives there. */
export interface Spread extends Setting {
  readonly choice: ChoiceName;
  /** For each server, how many clients have it. */
  readonly counts: readonly number[];
  readonly mean: number;
  /** The busiest server, by the mean. */
  readonly most: number;
  /** The standard deviation, by the mean. */
  readonly deviation: number;
  /** The part of the servers that no client has. */
  readonly unused: number;
  /** Members that a client loses when one server joins, and when one leaves: on the average, and at most. */
  readonly join: Change;
  readonly leave: Change;
}

/** How many members of a subset change. */
export interface Change {
  readonly mean: number;
  readonly most: number;
}

/** The same for the same arguments. */
export function spreadOf(choice: ChoiceName, setting: Setting, seed = 1): Spread {
  const random = seeded(seed);
  const servers = Array.from({ length: setting.servers + 1 }, () => uuid(random));
  const joining = servers.at(-1) ?? '';
  const present = servers.slice(0, -1);
  const clients = Array.from({ length: setting.clients }, (_, number) => ({ id: uuid(random), number }));
  const subsets = subsetsOf(choice, clients, present, setting.size);
  const counts = new Map(present.map((server) => [server, 0]));
  for (const server of subsets.flat()) counts.set(server, (counts.get(server) ?? 0) + 1);
  const values = [...counts.values()].sort((a, b) => a - b);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    ...setting,
    choice,
    counts: values,
    mean,
    most: (values.at(-1) ?? 0) / mean,
    deviation: Math.sqrt(squares / values.length) / mean,
    unused: values.filter((value) => value === 0).length / values.length,
    join: changeOf(subsets, subsetsOf(choice, clients, [...present, joining], setting.size)),
    leave: changeOf(subsets, subsetsOf(choice, clients, present.slice(1), setting.size)),
  };
}

function subsetsOf(
  choice: ChoiceName,
  clients: readonly Client[],
  servers: readonly string[],
  size: number,
): (readonly string[])[] {
  return clients.map((client) => CHOICES[choice](client, servers, size));
}

function changeOf(before: readonly (readonly string[])[], after: readonly (readonly string[])[]): Change {
  const lost = before.map((subset, at) => {
    const now = new Set(after[at]);
    return subset.filter((server) => !now.has(server)).length;
  });
  return { mean: lost.reduce((sum, one) => sum + one, 0) / lost.length, most: Math.max(...lost) };
}
