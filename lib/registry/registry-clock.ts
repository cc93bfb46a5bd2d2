/** Time and chance as the registry sees them: real by default, exact in tests. */

/** The seam to the clock, to timers and to randomness. */
export interface RegistryClock {
  /** Epoch milliseconds. */
  now(): number;
  /** A number from 0 (inclusive) to 1 (exclusive), as `Math.random`. */
  random(): number;
  /** Calls `task` once after `delayMs`; returns the way to stop that. */
  setTimer(delayMs: number, task: () => void): () => void;
}

/** The clock, the timers and the randomness of this process. */
export const SYSTEM_CLOCK: RegistryClock = {
  now: () => Date.now(),
  random: () => Math.random(),
  setTimer: (delayMs, task) => {
    const timer = setTimeout(task, delayMs);
    return () => clearTimeout(timer);
  },
};
