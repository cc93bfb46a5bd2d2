/** A node dies without a word. */
import { failures, none, some, type Row } from '../row.js';
import { mixedLoad, threeNodes } from './mixed.js';

const AFTER_MS = 3_000;
/** One keep-alive, and what a busy machine adds. */
const NOTICED_MS = 2_500;

export const sigkill: Row = {
  name: 'sigkill',
  title: 'SIGKILL one of 3',
  async run(scene) {
    const { cluster, long, mark, pass } = scene;
    const [victim, other, python] = await threeNodes(scene);
    await mixedLoad(scene);
    const victims = long ? [victim, python] : [victim];
    const killed: number[] = [];
    for (const one of victims) {
      killed.push(mark(`SIGKILL ${one.name.replace(/-.*/, '')}`));
      await one.kill();
      await pass(AFTER_MS);
    }
    await cluster.stopLoad();
    const nearKill = (sentAt: number): boolean =>
      killed.some((at) => sentAt > at - NOTICED_MS && sentAt < at + NOTICED_MS);
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
        'no call fails that was sent when the loss was known',
        failures(account, ({ sentAt }) => !nearKill(sentAt)),
      ),
      some('the others take the calls', cluster.ledger.handledBy(other.name, killed.at(-1)), 100),
    ];
  },
};
