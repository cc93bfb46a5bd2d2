/** The fault of a machine, not of the code: told in one paragraph, without a stack. */

/** Something that the scripts need is not there; `message` says what, and what mends it. */
export class SetupError extends Error {
  name = 'SetupError';
}

/**
 * Runs a script's `main`, and turns what it throws into a message and exit code 1.
 *
 * @param {() => Promise<number | void>} main resolves with the exit code (none: 0)
 * @returns {Promise<void>}
 */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}
