/** Nodes that are replaced, killed and frozen under load. */
import { expect, it } from '@jest/globals';
import { expectMet, LIMIT_MS, useChaos } from './chaos.js';
import { rollingRestart } from './rows/rolling-restart.js';
import { sigkill } from './rows/sigkill.js';
import { sigstop } from './rows/sigstop.js';

const run = useChaos();

it(
  'a rolling restart of three nodes under load fails no call and no stream',
  async () => expectMet(await run(rollingRestart)),
  LIMIT_MS,
);

it(
  'a node that is killed costs no idempotent call, and every other call that it costs says that it may have run',
  async () => {
    const outcome = await run(sigkill);
    expectMet(outcome);
    expect(outcome.answered).toBeGreaterThan(0);
  },
  LIMIT_MS,
);

it(
  'a node that freezes is noticed and routed around, and takes part again afterwards',
  async () => expectMet(await run(sigstop)),
  LIMIT_MS,
);
