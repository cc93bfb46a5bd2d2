/** Which nodes are left out, and when they are back, in virtual time. */
import { describe, expect, it } from '@jest/globals';
import {
  DEFAULT_EJECTION,
  Ejection,
  INTERVAL_MS,
  LEAST_CALLS,
  type EjectionOptions,
  type NodeHealth,
} from '../../lib/routing/ejection.js';
import { Agenda } from '../support/agenda.js';

const OPTIONS: EjectionOptions = { ...DEFAULT_EJECTION, consecutiveFailures: 3, baseMs: 1_000, maxMs: 2_500 };

interface Service {
  readonly time: Agenda;
  readonly ejection: Ejection;
  readonly nodes: readonly NodeHealth[];
  /** Why nodes were left out, in order. */
  readonly told: string[];
}

function serviceOf(size: number, options: Partial<EjectionOptions> = {}): Service {
  const time = new Agenda();
  const told: string[] = [];
  const ejection = new Ejection(
    { ...OPTIONS, ...options },
    {
      now: () => time.now,
      later(delayMs, task) {
        let stopped = false;
        time.in(delayMs, () => {
          if (!stopped) task();
        });
        return () => {
          stopped = true;
        };
      },
    },
  );
  const nodes = Array.from({ length: size }, () =>
    ejection.watch((why) => {
      if (why !== undefined) told.push(why);
    }),
  );
  return { time, ejection, nodes, told };
}

function nodeOf({ nodes }: Service, at = 0): NodeHealth {
  const node = nodes[at];
  if (node === undefined) throw new Error(`there are ${nodes.length} nodes`);
  return node;
}

function fail(node: NodeHealth, times: number): void {
  for (let n = 0; n < times; n += 1) {
    node.begin();
    node.onFailure('it broke');
  }
}

function answer(node: NodeHealth, times: number): void {
  for (let n = 0; n < times; n += 1) {
    node.begin();
    node.onAnswer();
  }
}

/** What can happen to a node; time is counted from the last of them. */
const EVENTS: Readonly<Record<string, (node: NodeHealth, time: Agenda) => void>> = {
  'a failure': (node) => fail(node, 1),
  'failures in a row': (node) => fail(node, 3),
  'an answer': (node) => answer(node, 1),
  'a call is given to it': (node) => node.begin(),
  'its call is answered': (node) => void node.onAnswer(),
  'its call fails': (node) => node.onFailure('it broke'),
  'its call is cancelled': (node) => node.onNeutral(),
  'not long enough': (_, time) => time.run(time.now + 999),
  'long enough': (_, time) => time.run(time.now + 1_000),
};

type Event = keyof typeof EVENTS;

/** What has happened, the state then, and whether calls may be given to it. */
const MOVES: readonly (readonly [readonly Event[], string, boolean])[] = [
  [[], 'closed', true],
  [['a failure', 'a failure'], 'closed', true],
  [['a failure', 'a failure', 'an answer', 'a failure', 'a failure'], 'closed', true],
  [['failures in a row'], 'open', false],
  [['failures in a row', 'an answer'], 'open', false],
  [['failures in a row', 'failures in a row'], 'open', false],
  [['failures in a row', 'not long enough'], 'open', false],
  [['failures in a row', 'long enough'], 'half-open', true],
  [['failures in a row', 'long enough', 'a call is given to it'], 'half-open', false],
  [['failures in a row', 'long enough', 'a call is given to it', 'its call is answered'], 'closed', true],
  [['failures in a row', 'long enough', 'a call is given to it', 'its call fails'], 'open', false],
  [['failures in a row', 'long enough', 'a call is given to it', 'its call is cancelled'], 'half-open', true],
  // A call that was begun before it was left out.
  [['failures in a row', 'long enough', 'its call fails'], 'half-open', true],
  [['failures in a row', 'long enough', 'its call is cancelled'], 'half-open', true],
  [['failures in a row', 'long enough', 'a call is given to it', 'long enough'], 'half-open', false],
];

describe('A node', () => {
  it.each(MOVES)(
    'after %j is %s, and it holds that calls may be given to it: %p',
    (events, state, admits) => {
      const service = serviceOf(4);
      const node = nodeOf(service);
      for (const event of events) EVENTS[event]?.(node, service.time);
      expect([node.state, node.admits]).toEqual([state, admits]);
    },
  );

  it('is left out longer each time, up to a bound', () => {
    const service = serviceOf(4);
    const node = nodeOf(service);
    fail(node, 3);
    for (let n = 0; n < 3; n += 1) {
      service.time.run(service.time.now + 2_500);
      fail(node, 1);
    }
    expect(service.told.map((why) => / (\d+) ms$/.exec(why)?.[1])).toEqual(['1000', '2000', '2500', '2500']);
  });

  it('that was well for a while is left out as briefly as at first', () => {
    const service = serviceOf(4);
    const node = nodeOf(service);
    for (const pauseMs of [0, INTERVAL_MS]) {
      service.time.run(service.time.now + pauseMs);
      fail(node, 3);
      service.time.run(service.time.now + 2_500);
      answer(node, 1);
    }
    fail(node, 3);
    expect(service.told.map((why) => / (\d+) ms$/.exec(why)?.[1])).toEqual(['1000', '1000', '2000']);
  });

  it('says why it is left out, and for how long', () => {
    const service = serviceOf(2);
    fail(nodeOf(service), 3);
    expect(service.told).toEqual([
      '3 calls in a row have failed, the last one with: it broke; it gets no calls for 1000 ms',
    ]);
  });

  it('is not left out for failures in a row when that is off', () => {
    const service = serviceOf(4, { consecutiveFailures: 0 });
    fail(nodeOf(service), 40);
    expect(nodeOf(service).state).toBe('closed');
  });

  it('that is gone is not left out, and no longer counts', () => {
    const service = serviceOf(2);
    nodeOf(service).stop();
    fail(nodeOf(service), 3);
    fail(nodeOf(service, 1), 3);
    expect(service.nodes.map(({ state }) => state)).toEqual(['closed', 'closed']);
    expect(service.told).toEqual([]);
  });
});

describe('The share of nodes that are left out', () => {
  /** How many of so many are left out when all fail. */
  it.each([
    [1, 0.5, 0],
    [2, 0.5, 1],
    [3, 0.5, 1],
    [4, 0.5, 2],
    [5, 0.5, 2],
    [10, 0.1, 1],
    [5, 0, 1],
    [3, 1, 3],
  ])('of %p nodes that fail, with maxShare %p, is %p', (size, maxShare, out) => {
    const service = serviceOf(size, { maxShare });
    for (const node of service.nodes) fail(node, 3);
    expect(service.nodes.filter(({ state }) => state === 'open')).toHaveLength(out);
  });

  it('counts those that are being tried', () => {
    const service = serviceOf(2);
    fail(nodeOf(service), 3);
    service.time.run(1_000);
    nodeOf(service).begin();
    fail(nodeOf(service, 1), 3);
    expect(nodeOf(service, 1).state).toBe('closed');
  });
});

describe('The success rate', () => {
  /** Every node has so many failures in each hundred calls, none of them in a row. */
  function mixed(service: Service, failures: readonly number[], calls = 100): void {
    service.time.run(service.time.now + 2_000);
    for (let n = 0; n < calls; n += 1) {
      for (const [at, share] of failures.entries()) {
        const fails = Math.floor(((n + 1) * share) / 100) > Math.floor((n * share) / 100);
        if (fails) fail(nodeOf(service, at), 1);
        else answer(nodeOf(service, at), 1);
      }
    }
    service.time.run(service.time.now + 1_000);
    // Rates are compared when something fails.
    fail(nodeOf(service), 1);
    answer(nodeOf(service), 1);
  }

  it('leaves a node out that fails much more often than the others', () => {
    const service = serviceOf(6);
    mixed(service, [1, 1, 1, 1, 1, 50]);
    expect(service.nodes.map(({ state }) => state)).toEqual([
      ...Array.from({ length: 5 }, () => 'closed'),
      'open',
    ]);
    expect(service.told[0]).toMatch(
      /^5\d % of its calls were answered, where 9\d % are usual; it gets no calls for/,
    );
  });

  it.each<[string, readonly number[], Partial<EjectionOptions>, number]>([
    ['all fail as often', [50, 50, 50, 50, 50, 50], {}, 100],
    ['the difference is as small as by chance', [0, 0, 0, 0, 0, 4], {}, 100],
    ['there are too few nodes to compare', [0, 50], {}, 100],
    ['there are too few calls to compare', [0, 0, 0, 0, 0, 50], {}, LEAST_CALLS - 4],
    ['that is off', [0, 0, 0, 0, 0, 50], { successRateDeviations: 0 }, 100],
  ])('leaves nobody out when %s', (_, failures, options, calls) => {
    const service = serviceOf(failures.length, options);
    mixed(service, failures, calls);
    expect(service.nodes.filter(({ state }) => state !== 'closed')).toEqual([]);
  });

  it('is counted anew after each interval', () => {
    const service = serviceOf(6);
    mixed(service, [0, 0, 0, 0, 0, 30], 40);
    service.time.run(service.time.now + INTERVAL_MS);
    fail(nodeOf(service), 1);
    expect(service.nodes.map(({ calls }) => calls)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
