/** One direction of a connection in memory: what TCP would carry, in order, with the faults of its link. */

/** What is wrong with one direction of a link. */
export interface FlowFaults {
  /** Nothing passes. As TCP would send it again, it arrives after all once the link is healed. */
  readonly dropped: boolean;
  /** How long everything takes, in ms. */
  readonly delayMs: number;
  /** How much passes; 0 = the reader has stopped reading. */
  readonly bytesPerSecond: number;
}

/** Where the bytes arrive. False when there is no room for more before {@link Flow.pull}. */
export type Receive = (bytes: Buffer) => boolean;

interface Item {
  readonly sentAt: number;
  readonly bytes: Buffer;
  /** For what is no bytes: the beginning and the end of a connection. */
  readonly arrive?: () => void;
}

/** What the buffers of two sockets hold between them: past it the writer waits. */
const BUFFER_BYTES = 256 * 1024;

/** The least time between two slices of a slow link. */
const SLICE_MS = 10;

/** What a slow link has saved up while nothing passed, or while the process was busy, at the most. */
const SAVED_MS = 50;

/** Two sides that answer each other at once would keep the process from everything else. */
const BURST = 64;

const NO_BYTES = Buffer.alloc(0);

export class Flow {
  private readonly queue: Item[] = [];
  private queuedBytes = 0;
  private onRoom: (() => void) | undefined;
  private hasRoom = true;
  /** How many bytes may pass on a slow link now, and when that was reckoned. */
  private allowance = 0;
  private reckonedAt = 0;
  private timer: NodeJS.Timeout | undefined;
  private scheduled = false;
  private burst = 0;
  private closed = false;

  constructor(
    private readonly faults: () => FlowFaults,
    private readonly receive: Receive,
  ) {}

  /** `done` is called as soon as there is room for more. */
  write(bytes: Buffer, done: () => void): void {
    if (this.closed) {
      done();
      return;
    }
    this.queue.push({ sentAt: performance.now(), bytes });
    this.queuedBytes += bytes.length;
    if (this.queuedBytes > BUFFER_BYTES) this.onRoom = done;
    else done();
    this.schedule();
  }

  /** `arrive` is called on the other side, after everything that was written before. */
  signal(arrive: () => void): void {
    if (this.closed) return;
    this.queue.push({ sentAt: performance.now(), bytes: NO_BYTES, arrive });
    this.schedule();
  }

  /** The receiver has room again. */
  pull(): void {
    this.hasRoom = true;
    this.schedule();
  }

  /** The faults have changed. */
  refresh(): void {
    this.schedule();
  }

  /** Nobody receives any more: what is on its way is lost, and the writer does not wait for it. */
  close(): void {
    this.closed = true;
    this.queue.length = 0;
    this.queuedBytes = 0;
    clearTimeout(this.timer);
    this.releaseWriter();
  }

  /** Never in the call of the writer: a socket does not answer within it either. */
  private schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    this.burst += 1;
    if (this.burst < BURST) process.nextTick(this.run);
    else {
      this.burst = 0;
      setImmediate(this.run);
    }
  }

  private readonly run = (): void => {
    this.scheduled = false;
    clearTimeout(this.timer);
    for (;;) {
      const item = this.queue[0];
      if (item === undefined) return;
      const { dropped, delayMs, bytesPerSecond } = this.faults();
      if (dropped) return;
      const now = performance.now();
      const dueAt = item.sentAt + delayMs;
      if (dueAt > now) {
        this.wakeIn(dueAt - now);
        return;
      }
      if (item.arrive !== undefined) {
        this.queue.shift();
        item.arrive();
        continue;
      }
      if (!this.hasRoom || bytesPerSecond === 0) return;
      if (bytesPerSecond === Infinity) this.deliver(item, item.bytes.length);
      else {
        const length = this.allowed(bytesPerSecond, now);
        if (length === 0) {
          this.wakeIn(Math.max(SLICE_MS, 1_000 / bytesPerSecond));
          return;
        }
        this.allowance -= this.deliver(item, length);
      }
    }
  };

  private allowed(bytesPerSecond: number, now: number): number {
    const perMs = bytesPerSecond / 1_000;
    const most = Math.max(1, perMs * SAVED_MS);
    this.allowance = Math.min(most, this.allowance + (now - this.reckonedAt) * perMs);
    this.reckonedAt = now;
    return Math.floor(this.allowance);
  }

  /** How many bytes that were. */
  private deliver(item: Item, length: number): number {
    const { bytes } = item;
    if (length >= bytes.length) this.queue.shift();
    else this.queue[0] = { ...item, bytes: bytes.subarray(length) };
    const part = bytes.subarray(0, length);
    this.queuedBytes -= part.length;
    this.hasRoom = this.receive(part);
    if (this.queuedBytes <= BUFFER_BYTES) this.releaseWriter();
    return part.length;
  }

  private releaseWriter(): void {
    const { onRoom } = this;
    this.onRoom = undefined;
    onRoom?.();
  }

  private wakeIn(delayMs: number): void {
    this.timer = setTimeout(this.run, Math.ceil(delayMs));
  }
}
