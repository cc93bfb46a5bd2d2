/** A cable is cut. */
import { expect, it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { partition } from './rows/partition.js';

const run = useChaos();

it(
  'a node that is cut off is noticed and routed around, and takes part again once it is healed',
  async () => {
    const outcome = await run(partition);
    // Only where network namespaces can be made can there be a partition.
    if (outcome.skipped === undefined) expectMet(outcome);
    else expect(outcome.skipped).toContain('network namespaces');
  },
  LIMIT_MS,
);
