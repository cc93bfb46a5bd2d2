/** The deadline queue: very many timeouts, each told once, in order, never early, and none left behind. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { DeadlineQueue, type Timed } from '../../lib/transport/deadline-queue.js';
import { eventually, pause } from '../support/eventually.js';

class Entry implements Timed {
  timedPrevious: Timed | undefined = undefined;
  timedNext: Timed | undefined = undefined;
  timedList: Timed['timedList'] = undefined;
  timedAt = 0;
  readonly beganAt = performance.now();
  tookMs: number | undefined;

  constructor(private readonly ended: (entry: Entry) => void = () => undefined) {}

  onTimeout(): void {
    this.tookMs = performance.now() - this.beganAt;
    this.ended(this);
  }
}

const queues: DeadlineQueue[] = [];
function newQueue(): DeadlineQueue {
  const queue = new DeadlineQueue();
  queues.push(queue);
  return queue;
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

describe('The deadline queue', () => {
  afterEach(() => {
    for (const queue of queues.splice(0)) queue.clear();
  });

  it('ends 50,000 entries in the order in which they began, none early, with one timer', async () => {
    const queue = newQueue();
    const ended: Entry[] = [];
    const entries = Array.from({ length: 50_000 }, () => new Entry((entry) => ended.push(entry)));
    for (const entry of entries) queue.add(entry, 30);
    expect(queue.size).toBe(50_000);
    await eventually('all have ended', () => ended.length === entries.length);
    expect(ended.every((entry, at) => entry === entries[at])).toBe(true);
    expect(Math.min(...ended.slice(0, 100).map((entry) => entry.tookMs ?? 0))).toBeGreaterThanOrEqual(30);
    expect(queue.size).toBe(0);
  });

  it('keeps few lists and timers for timeouts that nobody waits for any more', async () => {
    const queue = newQueue();
    const order: number[] = [];
    const entries = Array.from({ length: 1_000 }, (_, n) => {
      const entry = new Entry(() => order.push(n));
      queue.add(entry, 20_000 + n);
      return entry;
    });
    expect(queue['lists'].size).toBe(1_000);
    for (const entry of entries) queue.remove(entry);
    expect(queue.size).toBe(0);
    expect(queue['lists'].size).toBe(16);
    queue.add(new Entry(() => order.push(-1)), 20);
    await eventually('one that is new still ends', () => order.length === 1);
    expect(order).toEqual([-1]);
  });

  it('ends entries with different timeouts by their time, not by their place', async () => {
    const queue = newQueue();
    const order: string[] = [];
    queue.add(new Entry(() => order.push('late')), 60);
    queue.add(new Entry(() => order.push('soon')), 20);
    queue.add(new Entry(() => order.push('middle')), 40);
    await eventually('all have ended', () => order.length === 3);
    expect(order).toEqual(['soon', 'middle', 'late']);
  });

  it('leaves out what was removed, wherever in the line it stood', async () => {
    const queue = newQueue();
    const ended: number[] = [];
    const entries = [0, 1, 2, 3, 4].map((at) => new Entry(() => ended.push(at)));
    for (const entry of entries) queue.add(entry, 20);
    for (const at of [0, 2, 4]) queue.remove(entries[at]!);
    for (const at of [0, 2, 4]) queue.remove(entries[at]!);
    expect(queue.size).toBe(2);
    await eventually('the others have ended', () => ended.length === 2);
    expect(ended).toEqual([1, 3]);
  });

  it('takes an entry again that has ended, also from within its own end', async () => {
    const queue = newQueue();
    let rounds = 0;
    const entry: Entry = new Entry(() => {
      rounds += 1;
      if (rounds < 3) queue.add(entry, 5);
    });
    queue.add(entry, 5);
    await eventually('three rounds', () => rounds === 3);
    expect(queue.size).toBe(0);
  });

  it('gives an entry its whole time although the timer of its line was set for one that left', async () => {
    const queue = newQueue();
    const first = new Entry();
    queue.add(first, 40);
    await pause(25); // So that the line's timer is nearly due when the second entry begins.
    queue.remove(first);
    const second = new Entry();
    queue.add(second, 40);
    await eventually('it has ended', () => second.tookMs !== undefined);
    expect(second.tookMs).toBeGreaterThanOrEqual(40);
  });

  it('forgets everything when it is cleared', async () => {
    const queue = newQueue();
    const entry = new Entry();
    queue.add(entry, 10);
    queue.clear();
    await pause(30); // Long enough for what must not happen.
    expect(entry.tookMs).toBeUndefined();
    expect(queue.size).toBe(0);
  });

  it('does not hold the process, and leaves no timer behind', async () => {
    const before = timers();
    const queue = newQueue();
    const entry = new Entry();
    queue.add(entry, 60_000);
    queue.add(new Entry(), 10);
    expect(timers()).toBe(before);
    queue.remove(entry);
    await pause(20); // The short one ends.
    queue.clear();
    expect(timers()).toBe(before);
  });

  it('takes a timeout that is longer than a timer of Node can be', async () => {
    const queue = newQueue();
    const entry = new Entry();
    queue.add(entry, 2 ** 40);
    await pause(20); // Node would end such a timer after 1 ms.
    expect(entry.tookMs).toBeUndefined();
    expect(queue.size).toBe(1);
  });
});
