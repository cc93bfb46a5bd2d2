/** Heartbeats and looks in time: exact, with a clock that stands still until it is moved. */
import { describe, expect, it } from '@jest/globals';
import { Pulse } from '../../lib/registry/pulse.js';
import type { RegistryClock } from '../../lib/registry/registry-clock.js';
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

describe('a pulse', () => {
  it('whose timer is a moment early does not beat twice for it', async () => {
    const clock = new ManualClock();
    let beats = 0;
    const early = {
      ...bound(clock),
      setTimer: (ms: number, task: () => void) => clock.setTimer(ms - 1, task),
    };
    const pulse = new Pulse(2_000, early);
    const wait = (): void => void pulse.wait(() => ((beats += 1), wait()));
    wait();
    await clock.advance(3_000);
    expect(beats).toBe(1);
  });

  it('is one timer for all who wait, and none when nobody does', async () => {
    const clock = new ManualClock();
    const pulse = new Pulse(2_000, clock);
    const beats: string[] = [];
    const cancels = ['a', 'b', 'c'].map((name) => pulse.wait(() => void beats.push(name)));
    expect(clock.pending).toBe(1);
    cancels[1]?.();
    await clock.advance(1_999);
    expect(beats).toEqual([]);
    await clock.advance(1);
    expect(beats).toEqual(['a', 'c']);
    expect(clock.pending).toBe(0);
    pulse.wait(() => undefined)();
    expect(clock.pending).toBe(0);
  });

  function bound(clock: ManualClock): RegistryClock {
    return {
      now: () => clock.now(),
      random: () => clock.random(),
      setTimer: (delayMs, task) => clock.setTimer(delayMs, task),
    };
  }
});
