/** The registry is away while everything goes on. */
import { it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { redisDown } from './rows/redis-down.js';

const run = useChaos();

it(
  'Redis going away and coming back empty fails no call, and a node that was started meanwhile is used',
  async () => expectMet(await run(redisDown)),
  LIMIT_MS,
);
