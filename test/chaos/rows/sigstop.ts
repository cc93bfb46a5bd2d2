/** A node freezes: its connections stand, and nothing answers. */
import { failures, none, some, type Row } from '../row.js';
import { mixedLoad, threeNodes } from './mixed.js';

const FROZEN_MS = 30_000;
const FROZEN_SHORT_MS = 5_000;
const AFTER_MS = 3_000;
/** Keep-alive (2.5 s), and 2 s within which all is as before. */
const NOTICED_MS = 4_500;

export const sigstop: Row = {
  name: 'sigstop',
  title: 'SIGSTOP one of 3',
  lengths: { long: `for ${FROZEN_MS / 1_000} s`, short: `for ${FROZEN_SHORT_MS / 1_000} s` },
  async run(scene) {
    const { cluster, long, mark, pass, inUse } = scene;
    const [victim] = await threeNodes(scene);
    await mixedLoad(scene);
    const frozen = mark('SIGSTOP');
    victim.signal('SIGSTOP');
    await pass(long ? FROZEN_MS : FROZEN_SHORT_MS);
    const thawed = mark('SIGCONT');
    victim.signal('SIGCONT');
    // What had been sent before the freeze runs now; calls that come later are what is waited for.
    await pass(AFTER_MS);
    const back = thawed + AFTER_MS / 2;
    await inUse(victim, back);
    mark('in use again');
    await pass(1_000);
    await cluster.stopLoad();
    return (account) => [
      none(
        'no idempotent call fails',
        failures(account, ({ kind }) => kind === 'read'),
      ),
      none(
        'what fails says UNAVAILABLE and that it may have run',
        failures(account, ({ outcome }) => outcome !== 'UNAVAILABLE/unknown'),
      ),
      none(
        'no call fails that was sent later than 2 s after the keep-alive',
        failures(account, ({ sentAt }) => sentAt < frozen - NOTICED_MS || sentAt > frozen + NOTICED_MS),
      ),
      some('the node takes part again', cluster.ledger.handledBy(victim.name, back)),
    ];
  },
};
