/** Virtual time: tasks run in the order of their instants, and those of one instant in the order in which they were entered. */

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly task: () => void;
}

export class Agenda {
  /** In ms, from an instant that is as good as any other. */
  now = 0;
  /** A heap: each entry comes before the two at twice its place. */
  private readonly entries: Entry[] = [];
  private entered = 0;

  /** Enters a task for `delayMs` from now. */
  in(delayMs: number, task: () => void): void {
    const { entries } = this;
    const entry = { at: this.now + delayMs, order: this.entered++, task };
    let place = entries.length;
    entries.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = entries[parent];
      if (above === undefined || comesBefore(above, entry)) break;
      entries[place] = above;
      place = parent;
    }
    entries[place] = entry;
  }

  /** Runs every task up to `untilMs`; time stands there then, or at the last task. */
  run(untilMs = Infinity): void {
    for (let next = this.entries[0]; next !== undefined && next.at <= untilMs; next = this.entries[0]) {
      this.removeFirst();
      this.now = next.at;
      next.task();
    }
    if (untilMs !== Infinity) this.now = untilMs;
  }

  private removeFirst(): void {
    const { entries } = this;
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      const right = entries[child + 1];
      let below = entries[child];
      if (right !== undefined && below !== undefined && comesBefore(right, below)) {
        child += 1;
        below = right;
      }
      if (below === undefined || comesBefore(last, below)) break;
      entries[place] = below;
      place = child;
    }
    entries[place] = last;
  }
}

function comesBefore(one: Entry, other: Entry): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
