/** Events, through a kill, a restart in order, a freeze and a loss of the registry. */
import { failures, none, some, type Row } from '../row.js';
import { BEFORE_MS } from './mixed.js';

const RATES = { acked: 150, event: 150 };
const BETWEEN_MS = 1_000;
const FROZEN_MS = 4_000;
const ROUNDS = 5;

export const events: Row = {
  name: 'events',
  title: 'events through a kill, a restart, a freeze and a loss of Redis',
  lengths: { long: `${ROUNDS} times`, short: 'once' },
  async run(scene) {
    const { cluster, long, mark, pass } = scene;
    await Promise.all([cluster.nest(), cluster.python()]);
    await Promise.all([cluster.client(RATES), cluster.client(RATES)]);
    await pass(BEFORE_MS);
    for (let round = 0; round < (long ? ROUNDS : 1); round += 1) {
      const [killed, stopped] = await Promise.all([cluster.nest(), cluster.nest()]);
      mark('SIGKILL');
      await killed.kill();
      await pass(BETWEEN_MS);
      mark('SIGTERM');
      await stopped.stop();
      mark('Redis killed');
      await cluster.redis.kill();
      await pass(BETWEEN_MS);
      mark('Redis back, empty');
      await cluster.redis.run();
      const frozen = await cluster.nest();
      await scene.inUse(frozen, 0);
      mark('SIGSTOP');
      frozen.signal('SIGSTOP');
      await pass(FROZEN_MS);
      frozen.signal('SIGCONT');
      await pass(BETWEEN_MS);
    }
    await cluster.stopLoad();
    return (account) => [
      // That each acknowledged one was handled, and none twice, is counted for every row.
      some('events are acknowledged', account.entries.filter(acknowledged).length, 500),
      none(
        'an event that is not acknowledged says UNAVAILABLE and whether it may have been handled',
        failures(account, ({ kind, outcome }) => kind === 'acked' && !outcome.startsWith('UNAVAILABLE/')),
      ),
      none(
        'an event that waits for nothing fails only where it says that it was not sent',
        failures(account, ({ kind, outcome }) => kind === 'event' && !outcome.endsWith('/not-sent')),
      ),
    ];
  },
};

function acknowledged({ kind, outcome }: { readonly kind: string; readonly outcome: string }): boolean {
  return kind === 'acked' && outcome === 'ok';
}
