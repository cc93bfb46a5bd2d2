/** Heartbeats and looks in time: exact, with a clock that stands still until it is moved. */
import { describe, expect, it } from '@jest/globals';
import { Pulse } from '../../lib/registry/pulse.js';
import { Ticker } from '../../lib/registry/ticker.js';
import { ManualClock, settle } from './registry-fixture.js';

describe('a ticker', () => {
  it.each([
    [0, 1_800],
    [0.5, 2_000],
    [1, 2_200],
  ])('with the chance %d waits %d ms for an interval of 2,000 ms', async (chance, expected) => {
    const clock = new ManualClock();
    clock.chance = chance;
    const runs: number[] = [];
    const start = clock.now();
    const ticker = new Ticker(
      () => Promise.resolve(void runs.push(clock.now() - start)),
      new Pulse(2_000, clock),
      clock,
    );
    ticker.later();
    await clock.advance(2 * expected);
    expect(runs).toEqual([expected, 2 * expected]);
    await ticker.stop();
  });

  it('never runs twice at once, and runs once more when it was asked meanwhile, however often', async () => {
    const clock = new ManualClock();
    let runs = 0;
    let finish: () => void = () => undefined;
    const task = (): Promise<void> => {
      runs += 1;
      return new Promise((resolve) => (finish = resolve));
    };
    const ticker = new Ticker(task, new Pulse(2_000, clock), clock);
    for (let i = 0; i < 10; i += 1) ticker.soon();
    await clock.advance(5_000);
    expect(runs).toBe(1);
    finish();
    await settle();
    await clock.advance(1_000);
    expect(runs).toBe(2);
    finish();
    await settle();
    expect(clock.pending).toBe(1);
    await ticker.stop();
  });

  it('asked without end, runs at most every 25 ms', async () => {
    const clock = new ManualClock();
    let runs = 0;
    const ticker = new Ticker(() => Promise.resolve(void (runs += 1)), new Pulse(2_000, clock), clock);
    for (let i = 0; i < 250; i += 1) {
      ticker.soon();
      await clock.advance(1);
    }
    expect(runs).toBeLessThanOrEqual(11);
    expect(runs).toBeGreaterThanOrEqual(9);
    await ticker.stop();
  });

  it('leaves no timer behind when it is stopped, and does not run again', async () => {
    const clock = new ManualClock();
    let runs = 0;
    const ticker = new Ticker(() => Promise.resolve(void (runs += 1)), new Pulse(2_000, clock), clock);
    ticker.soon();
    await settle();
    await ticker.stop();
    ticker.soon();
    await clock.advance(10_000);
    expect([runs, clock.pending]).toEqual([1, 0]);
  });
});
