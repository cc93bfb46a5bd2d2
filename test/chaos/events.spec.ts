/** Events, whatever happens. */
import { it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { events } from './rows/events.js';

const run = useChaos();

it(
  'an acknowledged event was handled exactly once through a kill, a restart, a freeze and a loss of the registry',
  async () => expectMet(await run(events)),
  LIMIT_MS,
);
