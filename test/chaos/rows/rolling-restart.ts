/** Every node is replaced, one after the other, by SIGTERM. */
import type { Program } from '../program.js';
import { failures, none, some, type Row } from '../row.js';
import { mixedLoad, threeNodes } from './mixed.js';

const TIMES = 10;
const TIMES_SHORT = 1;
const BETWEEN_MS = 300;

export const rollingRestart: Row = {
  name: 'rolling-restart',
  title: 'rolling restart of 3 nodes',
  lengths: { long: `${TIMES} times`, short: 'once' },
  async run(scene) {
    const { cluster, long, mark, pass } = scene;
    const nodes: Program[] = await threeNodes(scene);
    await mixedLoad(scene);
    const ended: (number | null)[] = [];
    for (let time = 0; time < (long ? TIMES : TIMES_SHORT); time += 1) {
      mark('restart');
      for (const [at, old] of nodes.entries()) {
        nodes[at] = await (old.name.startsWith('python') ? cluster.python() : cluster.nest());
        ended.push(await old.stop());
        await pass(BETWEEN_MS);
      }
    }
    await cluster.stopLoad();
    return (account) => [
      none(
        'no call fails',
        failures(account, ({ kind }) => kind !== 'stream'),
      ),
      none(
        'no idempotent stream fails',
        failures(account, ({ kind }) => kind === 'stream'),
      ),
      none('every node ends in order', ended.filter((code) => code !== 0).length),
      ...nodes.map(({ name }) => some('every new node is given calls', cluster.ledger.handledBy(name))),
    ];
  },
};
