/**
 * Reads what arrives at once in several turns of the event loop, so that the answers to its first part leave before the rest is
 * read. Where all that two nodes have under way arrives together, they would otherwise work by turns, each waiting for the other.
 */

/** Worth a turn of its own: the frames of about fifty small calls. */
export const TURN_BYTES = 8 * 1024;
/** No more than this is held back. */
export const MAX_HELD_BYTES = 128 * 1024;
/** From here on a frame is work enough for the peer by itself: a turn would hold few, and cut one of them. */
export const WHOLE_FRAME_BYTES = TURN_BYTES / 2;

export class ReadTurns {
  private readonly held: Buffer[] = [];
  private heldBytes = 0;
  private scheduled = false;

  constructor(
    /** Reads bytes. Must not throw. */
    private readonly read: (bytes: Buffer) => void,
    /** The size of the frame that has begun last. */
    private readonly frameBytes: () => number,
  ) {}

  /** Reads the chunk, or a part of it now and the rest in later turns; always in the order of coming. */
  push(chunk: Buffer): void {
    if (this.heldBytes > 0) {
      this.hold(chunk);
      if (this.heldBytes > MAX_HELD_BYTES) this.readHeld(this.heldBytes - MAX_HELD_BYTES);
    } else if (chunk.length <= TURN_BYTES || this.frameBytes() >= WHOLE_FRAME_BYTES) {
      this.read(chunk);
    } else {
      this.read(chunk.subarray(0, TURN_BYTES));
      this.hold(chunk.subarray(TURN_BYTES));
    }
  }

  /** Reads at once all that is held back. */
  finish(): void {
    if (this.heldBytes > 0) this.readHeld(this.heldBytes);
  }

  private hold(chunk: Buffer): void {
    this.held.push(chunk);
    this.heldBytes += chunk.length;
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.onTurn);
  }

  private readonly onTurn = (): void => {
    this.scheduled = false;
    // Halves, so that much of it takes few turns, and both nodes have as much to do.
    this.readHeld(Math.max(TURN_BYTES, this.heldBytes >>> 1));
    if (this.heldBytes === 0) return;
    this.scheduled = true;
    setImmediate(this.onTurn);
  };

  private readHeld(bytes: number): void {
    let left = bytes;
    while (left > 0) {
      const chunk = this.held.shift();
      if (chunk === undefined) return;
      if (chunk.length > left) this.held.unshift(chunk.subarray(left));
      const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
      left -= part.length;
      this.heldBytes -= part.length;
      this.read(part);
    }
  }
}
