/** Memory for what is written in bulk: used again once its bytes have left, since fresh memory costs more than the copy into it. */

/** The size of a slab. */
export const SLAB_BYTES = 128 * 1024;
/** How many that are free are kept. */
const MOST_FREE = 64;

/** A piece of memory. */
export interface Slab {
  readonly bytes: Buffer;
  /** Its bytes have left. With an error it is not known what still reads them, and they are not used again. */
  readonly free: (error?: Error | null) => void;
}

// Held weakly: what nobody uses goes with the next collection of garbage.
let free = new WeakRef<Slab[]>([]);

/** A slab that nobody else uses. */
export function takeSlab(): Slab {
  return free.deref()?.pop() ?? newSlab();
}

function newSlab(): Slab {
  const slab: Slab = {
    bytes: Buffer.allocUnsafeSlow(SLAB_BYTES),
    free(error) {
      if (error !== undefined && error !== null) return;
      const others = free.deref();
      if (others === undefined) free = new WeakRef([slab]);
      else if (others.length < MOST_FREE) others.push(slab);
    },
  };
  return slab;
}
