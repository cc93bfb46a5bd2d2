/** A node stands in a network namespace of its own, and its cable is cut. */
import { namespace } from '../namespace.js';
import { failures, none, some, type Row } from '../row.js';
import { mixedLoad } from './mixed.js';

const CUT_MS = 30_000;
const CUT_SHORT_MS = 5_000;
const AFTER_MS = 3_000;
/** Keep-alive (2.5 s), and 2 s within which all is as before. */
const NOTICED_MS = 4_500;

export const partition: Row = {
  name: 'partition',
  title: 'partition of one node',
  lengths: { long: `healed after ${CUT_MS / 1_000} s`, short: `healed after ${CUT_SHORT_MS / 1_000} s` },
  // It must be reached from the namespace too.
  redisArgs: ['--bind', '127.0.0.1', namespace.outside, '--protected-mode', 'no'],
  prepare: namespace.make,
  tidy: namespace.remove,
  async run(scene) {
    const { cluster, long, mark, pass, inUse } = scene;
    const registry = cluster.redis.url.replace('127.0.0.1', namespace.outside);
    const [victim] = await Promise.all([
      cluster.nest({ prefix: namespace.prefix, registry, host: namespace.inside }),
      cluster.nest(),
      cluster.python(),
    ]);
    await mixedLoad(scene);
    await inUse(victim, 0);
    const cut = mark('cut');
    namespace.cut();
    await pass(long ? CUT_MS : CUT_SHORT_MS);
    const healed = mark('healed');
    namespace.heal();
    await pass(AFTER_MS);
    const back = healed + AFTER_MS / 2;
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
        failures(account, ({ sentAt }) => sentAt < cut - NOTICED_MS || sentAt > cut + NOTICED_MS),
      ),
      some('the node takes part again', cluster.ledger.handledBy(victim.name, back)),
    ];
  },
};
