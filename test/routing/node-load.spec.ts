/** What a client knows of the load of a node, in virtual time. */
import { describe, expect, it } from '@jest/globals';
import { NodeLoad, ServiceLoad } from '../../lib/routing/node-load.js';

interface Loaded {
  readonly service: ServiceLoad<string>;
  readonly load: NodeLoad<string>;
}

function loadOf({
  slowStartMs = 0,
  since = -Infinity,
  weight = 1,
}: Partial<{ slowStartMs: number; since: number; weight: number }> = {}): Loaded {
  const service = new ServiceLoad<string>(slowStartMs);
  return { service, load: new NodeLoad('node', service, since, () => weight) };
}

function answeredIn(tookMs: number, loaded = loadOf()): Loaded {
  loaded.load.answered(tookMs, 0);
  return loaded;
}

describe('The latency of a node', () => {
  it('is not known before its first answer, and then is that of the answer', () => {
    const { load } = loadOf();
    expect(load.latencyMs(0)).toBe(0);
    load.answered(20, 0);
    expect(load.latencyMs(0)).toBe(20);
  });

  it('follows a peak at once', () => {
    const { load } = answeredIn(5);
    load.answered(80, 1);
    expect(load.latencyMs(1)).toBe(80);
  });

  it('forgets a peak slowly, however many fast answers come at once', () => {
    const { load } = answeredIn(80);
    for (let n = 0; n < 1_000; n += 1) load.answered(5, 1);
    expect(load.latencyMs(1)).toBeGreaterThan(75);
    for (let now = 1_000; now <= 60_000; now += 1_000) load.answered(5, now);
    expect(load.latencyMs(60_000)).toBeLessThan(6);
  });

  it('is forgotten without answers too, so that a node which was slow is tried again', () => {
    const { load } = answeredIn(100);
    expect(load.latencyMs(10_000)).toBeCloseTo(100 / Math.E);
    expect(load.latencyMs(100_000)).toBeLessThan(0.01);
  });
});

describe('The mean of a node', () => {
  it('is moved little by a peak, and by failures as if they had taken long', () => {
    const { load } = answeredIn(10);
    load.answered(210, 0);
    expect(load.meanMs(0)).toBe(20);
    load.failed(1, 0);
    expect(load.meanMs(0)).toBeGreaterThan(60);
  });

  it('is forgotten as the latency is', () => {
    expect(answeredIn(100).load.meanMs(10_000)).toBeCloseTo(100 / Math.E);
    expect(loadOf().load.meanMs(0)).toBe(0);
  });
});

describe('The cost of a call', () => {
  it('grows with the latency and with the open calls, and falls with the weight', () => {
    const { load } = answeredIn(10);
    const idle = load.cost(0);
    load.begin();
    expect(load.cost(0)).toBe(2 * idle);
    load.end();
    expect(load.cost(0)).toBe(idle);
    expect(answeredIn(20).load.cost(0)).toBe(2 * idle);
    expect(answeredIn(10, loadOf({ weight: 4 })).load.cost(0)).toBe(idle / 4);
  });

  it('is that of a usual node while nothing is known, so that no rush goes to a new one', () => {
    const { service, load: old } = answeredIn(100);
    const fresh = new NodeLoad('fresh', service, 0, () => 1);
    expect(fresh.cost(0)).toBe(old.cost(0));
    fresh.begin();
    expect(fresh.cost(0)).toBe(2 * old.cost(0));
  });

  it('is that of a much slower node after a failure, so that fast failures draw no calls', () => {
    for (const usual of [0.5, 50]) {
      const loaded = answeredIn(usual);
      const before = loaded.load.cost(0);
      loaded.load.failed(0.1, 0);
      expect(loaded.load.cost(0)).toBeGreaterThanOrEqual(10 * before);
    }
  });

  it('grows less when a node is busy than when it fails', () => {
    const [idle, busy, failing] = [answeredIn(50), answeredIn(50), answeredIn(50)];
    busy.load.busy(1, 0);
    failing.load.failed(1, 0);
    expect(busy.load.cost(0)).toBeGreaterThan(idle.load.cost(0));
    expect(busy.load.cost(0)).toBeLessThan(failing.load.cost(0));
    expect(busy.service.answered).toBeUndefined();
  });

  it('does not grow with each failure, so that a node which is well again is not waited for', () => {
    const { load } = answeredIn(50);
    load.failed(1, 0);
    const once = load.cost(0);
    for (let n = 0; n < 10; n += 1) load.failed(1, 0);
    expect(load.cost(0)).toBe(once);
  });

  it('grows with how late the event loop of the node says it is, until that is old news', () => {
    const { load } = answeredIn(10);
    const idle = load.cost(0);
    load.heard({ open: 0, delayMs: 40 }, 0);
    expect(load.cost(0)).toBe(5 * idle);
    expect(load.cost(10_001)).toBeLessThan(idle);
  });
});

describe('A node in its slow start', () => {
  it('costs ten times as much at first, and as much as others at the end', () => {
    const { service } = answeredIn(10, loadOf({ slowStartMs: 10_000 }));
    const old = new NodeLoad('old', service, -Infinity, () => 1);
    const fresh = new NodeLoad('fresh', service, 0, () => 1);
    const times = [0, 500, 1_000, 5_000, 10_000, 20_000].map((now) => fresh.cost(now) / old.cost(now));
    expect(times.map((value) => Number(value.toFixed(6)))).toEqual([10, 10, 10, 2, 1, 1]);
  });

  it('does not take the next call because it has just answered', () => {
    const { service } = loadOf({ slowStartMs: 10_000 });
    const fresh = new NodeLoad('fresh', service, 0, () => 1);
    fresh.answered(1, 9_999);
    expect(service.answered).toBeUndefined();
    fresh.answered(1, 10_000);
    expect(service.answered).toBe('fresh');
  });

  it('begins again when it has been left out and is back, and what was known of it is forgotten', () => {
    const { load } = answeredIn(10, loadOf({ slowStartMs: 10_000 }));
    load.failed(5_000, 0);
    load.recovered(10, 1_000);
    expect(load.latencyMs(1_000)).toBe(10);
    expect(load.cost(1_000)).toBeCloseTo(100);
    expect(load.cost(11_000)).toBeLessThan(10);
  });
});

describe('The calls that are open', () => {
  it('are counted for the node and for the service', () => {
    const service = new ServiceLoad<string>();
    const [a, b] = ['a', 'b'].map((id) => new NodeLoad(id, service, -Infinity, () => 1));
    a?.begin();
    a?.begin();
    b?.begin();
    expect([a?.open, b?.open, service.open]).toEqual([2, 1, 3]);
    a?.end();
    expect([a?.open, b?.open, service.open]).toEqual([1, 1, 2]);
  });

  it('go on at the node that has answered, until it fails', () => {
    const { service, load } = answeredIn(1);
    expect(service.answered).toBe('node');
    load.failed(1, 0);
    expect(service.answered).toBeUndefined();
  });
});
