/** Notices a frame that stands still half arrived. */

/** What is watched. */
export interface WatchedReading {
  /** True while a part of a frame has arrived, and the stream is open. */
  incomplete(): boolean;
  paused(): boolean;
  /** Nothing has arrived of an incomplete frame for the whole limit. */
  onStall(): void;
}

/** One timer at most, and only while a frame is incomplete. */
export class StallWatch {
  private timer: NodeJS.Timeout | undefined;
  private lastByteAt = 0;

  constructor(
    private readonly limitMs: number,
    private readonly reading: WatchedReading,
  ) {}

  /** A part of a frame has arrived, and another is to come. */
  begin(): void {
    this.lastByteAt = performance.now();
    this.timer ??= setTimeout(this.check, this.limitMs).unref();
  }

  /** Reading goes on after a pause. */
  resumed(): void {
    this.lastByteAt = performance.now();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private readonly check = (): void => {
    this.timer = undefined;
    const { reading, limitMs } = this;
    if (!reading.incomplete()) return;
    // Paused reading stands still by our own wish.
    if (reading.paused()) this.lastByteAt = performance.now();
    const still = performance.now() - this.lastByteAt;
    if (still < limitMs) this.timer = setTimeout(this.check, Math.max(1, limitMs - still)).unref();
    else reading.onStall();
  };
}
