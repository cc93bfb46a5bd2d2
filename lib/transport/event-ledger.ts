/** The events of a channel that nobody waits for, until they were handed to HTTP/2: so that one that never was is told of. */

/** Events whose frames follow each other: from the number `first` up to, and without, `end`. */
interface Run {
  first: number;
  end: number;
}

/** With so many runs the written ones are forgotten in one go, which keeps the cost of each at a push. */
const TRIM_AT = 256;

export class EventLedger {
  /** In the order of sending. */
  private runs: Run[] = [];

  /** An event is about to be queued as this frame; `written`: how many frames have left so far. */
  note(frame: number, written: number): void {
    const { runs } = this;
    const last = runs[runs.length - 1];
    if (last === undefined) runs.push({ first: frame, end: frame + 1 });
    else if (last.end <= written) {
      // All have left: what is there begins anew.
      last.first = frame;
      last.end = frame + 1;
      if (runs.length > 1) this.runs = [last];
    } else if (last.end === frame) last.end = frame + 1;
    else {
      if (runs.length % TRIM_AT === 0) this.runs = runs.filter(({ end }) => end > written);
      this.runs.push({ first: frame, end: frame + 1 });
    }
  }

  /** How many have not left. */
  unsent(written: number): number {
    let count = 0;
    for (const { first, end } of this.runs) if (end > written) count += end - Math.max(first, written);
    return count;
  }
}
