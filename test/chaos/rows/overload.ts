/** Ten times as many calls as the nodes can handle. */
import { failures, none, some, type Row } from '../row.js';

const WORK_MS = 100;
const AT_A_TIME = 5;
const NODES = 2;
/** Calls in a second that all nodes together can answer. */
const CAPACITY = (NODES * AT_A_TIME * 1_000) / WORK_MS;
const LOAD = 10;
const LEAST_GOODPUT = 0.8;
const OVER_MS = 30_000;
const OVER_SHORT_MS = 5_000;
const AFTER_MS = 2_000;
/** Of the heap after a collection; what is compiled meanwhile belongs to it too. */
const GROWTH_BYTES = 8 << 20;
/** Entries, objects and listeners of a node at rest may differ by its last beats. */
const GROWTH_HELD = 50;

export const overload: Row = {
  name: 'overload',
  title: `${LOAD}x overload`,
  lengths: { long: `for ${OVER_MS / 1_000} s`, short: `for ${OVER_SHORT_MS / 1_000} s` },
  recoversFrom: 'over',
  async run(scene) {
    const { cluster, long, mark, pass } = scene;
    const extras = { workMs: WORK_MS, mesh: { maxConcurrency: AT_A_TIME } };
    const nodes = await Promise.all(Array.from({ length: NODES }, () => cluster.nest(extras)));
    const half = await cluster.client({ work: CAPACITY / 2 });
    await pass(AFTER_MS);
    const before = await Promise.all(nodes.map((node) => node.usage()));
    const from = mark(`${LOAD}x`);
    const rate = ((LOAD - 0.5) * CAPACITY) / 2;
    const crowd = await Promise.all([cluster.client({ work: rate }), cluster.client({ work: rate })]);
    // Clients take their time to start, so the window begins when both send.
    const began = Date.now();
    await pass(long ? OVER_MS : OVER_SHORT_MS);
    const until = mark('over');
    await cluster.stopLoad(crowd);
    await Promise.all(crowd.map((client) => client.stop()));
    const after = mark('half of capacity again');
    await pass(AFTER_MS);
    await cluster.stopLoad([half]);
    const left = await Promise.all(nodes.map((node) => node.usage()));
    return (account) => {
      const goodput = account.entries.filter(({ outcome, sentAt, tookMs }) => {
        const endedAt = sentAt + tookMs;
        return outcome === 'ok' && endedAt >= began && endedAt <= until;
      }).length;
      const possible = (CAPACITY * (until - began)) / 1_000;
      return [
        {
          promise: `more than ${100 * LEAST_GOODPUT} % of the calls that the nodes can handle are answered`,
          met: goodput > LEAST_GOODPUT * possible,
          seen: `${goodput} of ${Math.round(possible)}, ${Math.round((100 * goodput) / possible)} %`,
        },
        none(
          'what is too much is refused, and has not run',
          failures(account, ({ outcome }) => outcome !== 'RESOURCE_EXHAUSTED/refused'),
        ),
        some(
          'it was too much',
          failures(account, ({ sentAt }) => sentAt > from),
          100,
        ),
        none(
          'no call fails once it is over',
          failures(account, ({ sentAt }) => sentAt > after),
        ),
        ...nodes.flatMap(({ name }, at) => [
          atMost(
            `${name} has no more in its heap than before`,
            (left[at]?.heapBytes ?? Infinity) - (before[at]?.heapBytes ?? 0),
            GROWTH_BYTES,
          ),
          atMost(
            `${name} holds no more than before`,
            (left[at]?.held ?? Infinity) - (before[at]?.held ?? 0),
            GROWTH_HELD,
          ),
        ]),
      ];
    };
  },
};

function atMost(promise: string, growth: number, most: number) {
  return { promise, met: growth <= most, seen: `${growth} more, ${most} are room` };
}
