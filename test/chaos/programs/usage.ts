/** What a program of the cluster holds, told on SIGUSR2, and its end with the program that has started it. */
import { heldBy } from '../../support/remains.js';

/** Prints `usage {…}` on SIGUSR2: bytes of the heap after a collection, handles, listeners, and what `root` holds. */
export function answerUsage(root: object): void {
  process.on('SIGUSR2', () => {
    globalThis.gc?.();
    const usage = {
      heapBytes: process.memoryUsage().heapUsed,
      handles: process.getActiveResourcesInfo().length,
      held: Object.values(heldBy(root)).reduce((sum, count) => sum + count, 0),
    };
    process.stdout.write(`usage ${JSON.stringify(usage)}\n`);
  });
}

/** Nothing outlives the run: without the other end of its standard input the program ends. */
export function endWithInput(): void {
  process.stdin.resume().once('end', () => process.exit(0));
}
