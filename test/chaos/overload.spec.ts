/** More calls than the nodes can handle. */
import { it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { overload } from './rows/overload.js';

const run = useChaos();

it(
  'ten times too many calls leave what the nodes can handle answered and the rest refused, and nothing grows',
  async () => expectMet(await run(overload)),
  LIMIT_MS,
);
