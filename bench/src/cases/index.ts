/** All cases, in the order in which they are run and shown. */
import { callCases } from './calls.js';
import type { Case } from './case.js';
import { coldStart } from './cold-start.js';
import { halfLoadCases } from './half-load.js';
import { interopCases } from './interop.js';
import { manyNodesCases } from './many-nodes.js';
import { memoryCases } from './memory.js';
import { streamCases } from './streams.js';

export const cases: readonly Case[] = [
  ...callCases,
  ...streamCases,
  ...interopCases,
  ...manyNodesCases,
  ...halfLoadCases,
  ...memoryCases,
  coldStart,
];

/** The case of that name; throws when there is none. */
export function findCase(name: string): Case {
  const found = cases.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no case "${name}"`);
  return found;
}
