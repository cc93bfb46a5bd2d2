/** Mixed load without a fault. */
import { it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { soak } from './rows/soak.js';

const run = useChaos();

it(
  'mixed load fails no call, and memory, handles and listeners of nodes and clients of both languages stay flat',
  async () => expectMet(await run(soak)),
  LIMIT_MS,
);
