/** The pieces of a frame that spans chunks: large ones are kept as they are, small ones copied together; joined once, at the end. */

/** A piece is kept as it is when it is at least this long, and a quarter of the memory that it keeps. */
const KEPT_BYTES = 4 * 1024;
const KEPT_SHARE = 4;
const TAIL_BYTES = 16 * 1024;
/** Up to this size, frames whose reader keeps nothing of them are joined in one buffer for all. */
const SCRATCH_BYTES = 2 * 1024 * 1024;

const EMPTY = Buffer.alloc(0);
let scratch = EMPTY;

export class Pieces {
  private pieces: Buffer[] = [];
  /** Where small pieces are copied, and how much of it is taken. */
  private tail = EMPTY;
  private tailUsed = 0;

  /** Takes `length` bytes of the chunk; `missing` is what the frame still lacks, these included. */
  add(chunk: Buffer, at: number, length: number, missing: number): void {
    if (length >= KEPT_BYTES && length * KEPT_SHARE >= chunk.buffer.byteLength) {
      this.seal();
      this.pieces.push(chunk.subarray(at, at + length));
      return;
    }
    let from = at;
    while (from < at + length) {
      if (this.tailUsed === this.tail.length) {
        this.seal();
        this.tail = Buffer.allocUnsafe(Math.min(missing - (from - at), TAIL_BYTES));
      }
      const copied = chunk.copy(this.tail, this.tailUsed, from, at + length);
      this.tailUsed += copied;
      from += copied;
    }
  }

  /** All that was added, `total` bytes; `shared`: in memory that the next frame overwrites, wherever it is joined. */
  take(total: number, shared: boolean): Buffer {
    if (this.pieces.length === 0) {
      const only = this.tail.subarray(0, total);
      this.clear();
      return only;
    }
    this.seal();
    const target = shared && total <= SCRATCH_BYTES ? scratchOf(total) : Buffer.allocUnsafeSlow(total);
    let at = 0;
    for (const piece of this.pieces) at += piece.copy(target, at);
    this.clear();
    return target;
  }

  clear(): void {
    if (this.pieces.length > 0) this.pieces = [];
    this.tail = EMPTY;
    this.tailUsed = 0;
  }

  private seal(): void {
    if (this.tailUsed === 0) return;
    this.pieces.push(this.tail.subarray(0, this.tailUsed));
    this.tail = this.tail.subarray(this.tailUsed);
    this.tailUsed = 0;
  }
}

function scratchOf(bytes: number): Buffer {
  if (scratch.length < bytes)
    scratch = Buffer.allocUnsafeSlow(Math.min(SCRATCH_BYTES, Math.max(bytes, 2 * scratch.length)));
  return scratch.subarray(0, bytes);
}
