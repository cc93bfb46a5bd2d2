/** The events of a channel that nobody waits for, until they were handed to HTTP/2: so that one that never was is told of. */

/** With so many written ones they are forgotten in one go, which keeps the cost of each at a push. */
const TRIM_AT = 256;

export class EventLedger {
  /** The numbers of their frames, in the order of sending. */
  private frames: number[] = [];

  /** An event is about to be queued as this frame; `written`: how many frames have left so far. */
  note(frame: number, written: number): void {
    const { frames } = this;
    const last = frames.at(-1);
    if (last !== undefined && last < written) frames.length = 0;
    else if (frames.length % TRIM_AT === TRIM_AT - 1) this.frames = frames.filter((one) => one >= written);
    this.frames.push(frame);
  }

  /** How many have not left. */
  unsent(written: number): number {
    return this.frames.reduce((count, frame) => (frame >= written ? count + 1 : count), 0);
  }
}
