/** The registry goes away, and comes back empty. */
import { failures, none, some, type Row } from '../row.js';
import { mixedLoad, threeNodes } from './mixed.js';

const DOWN_MS = 60_000;
const DOWN_SHORT_MS = 4_000;

export const redisDown: Row = {
  name: 'redis-down',
  title: 'Redis killed, back empty',
  lengths: { long: `after ${DOWN_MS / 1_000} s`, short: `after ${DOWN_SHORT_MS / 1_000} s` },
  async run(scene) {
    const { cluster, long, mark, pass, inUse } = scene;
    await threeNodes(scene);
    await mixedLoad(scene);
    mark('Redis killed');
    await cluster.redis.kill();
    const late = cluster.beginNest();
    await pass(long ? DOWN_MS : DOWN_SHORT_MS);
    const back = mark('Redis back, empty');
    await cluster.redis.run();
    await inUse(late, back);
    mark('new node in use');
    await pass(1_500);
    await cluster.stopLoad();
    return (account) => [
      none(
        'no call fails',
        failures(account, () => true),
      ),
      some('a node started meanwhile is used once Redis is back', cluster.ledger.handledBy(late.name, back)),
    ];
  },
};
