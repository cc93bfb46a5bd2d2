/**
 * Timeouts for very many calls: calls with the same timeout end in the order in which they began, so one linked list
 * and one timer serve them all, and adding or removing a call allocates nothing (the idea of Node's own timer lists).
 */

/** Something that can run out of time. The fields belong to the queue. */
export interface Timed {
  timedPrevious: Timed | undefined;
  timedNext: Timed | undefined;
  timedList: TimedList | undefined;
  timedAt: number;
  /** Called once when the time is over; the entry has left the queue by then. */
  onTimeout(): void;
}

/** All entries with one timeout, oldest first. */
interface TimedList {
  readonly timeoutMs: number;
  first: Timed | undefined;
  last: Timed | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** The longest delay that a Node timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** So many timeouts keep their list and timer between two calls; what calls inherit from others is different each time. */
const KEPT_LISTS = 16;

export class DeadlineQueue {
  private readonly lists = new Map<number, TimedList>();

  /** `onTimeout()` is called `timeoutMs` from now, unless the entry is removed before. */
  add(entry: Timed, timeoutMs: number): void {
    let list = this.lists.get(timeoutMs);
    if (list === undefined) {
      list = { timeoutMs, first: undefined, last: undefined, timer: undefined };
      this.lists.set(timeoutMs, list);
    }
    entry.timedAt = performance.now() + timeoutMs;
    entry.timedList = list;
    entry.timedPrevious = list.last;
    entry.timedNext = undefined;
    if (list.last === undefined) list.first = entry;
    else list.last.timedNext = entry;
    list.last = entry;
    if (list.timer === undefined) this.arm(list, timeoutMs);
  }

  /** Takes the entry out; nothing happens when it is in no queue. */
  remove(entry: Timed): void {
    const list = entry.timedList;
    if (list === undefined) return;
    if (entry.timedPrevious === undefined) list.first = entry.timedNext;
    else entry.timedPrevious.timedNext = entry.timedNext;
    if (entry.timedNext === undefined) list.last = entry.timedPrevious;
    else entry.timedNext.timedPrevious = entry.timedPrevious;
    entry.timedPrevious = entry.timedNext = entry.timedList = undefined;
    if (list.first === undefined && this.lists.size > KEPT_LISTS) this.drop(list);
  }

  /** Number of entries that wait; walks the lists, for tests and status. */
  get size(): number {
    let count = 0;
    for (const list of this.lists.values())
      for (let entry = list.first; entry; entry = entry.timedNext) count += 1;
    return count;
  }

  /** Forgets everything. */
  clear(): void {
    for (const list of this.lists.values()) clearTimeout(list.timer);
    this.lists.clear();
  }

  private drop(list: TimedList): void {
    clearTimeout(list.timer);
    list.timer = undefined;
    if (this.lists.get(list.timeoutMs) === list) this.lists.delete(list.timeoutMs);
  }

  private arm(list: TimedList, delayMs: number): void {
    // The channels of the entries hold the process; a deadline alone must not.
    list.timer = setTimeout(
      () => this.expire(list),
      Math.min(Math.max(1, Math.ceil(delayMs)), MAX_TIMER_MS),
    ).unref();
  }

  private expire(list: TimedList): void {
    list.timer = undefined;
    const now = performance.now();
    while (list.first !== undefined && list.first.timedAt <= now) {
      const entry = list.first;
      this.remove(entry);
      entry.onTimeout();
    }
    if (this.lists.get(list.timeoutMs) !== list) return;
    if (list.first === undefined) this.lists.delete(list.timeoutMs);
    else if (list.timer === undefined) this.arm(list, list.first.timedAt - now);
  }
}
