/** Makes sure that there is a redis-server program, which the tests start for themselves. */
import { run } from './run.mjs';
import { SetupError } from './setup-error.mjs';
import { findProgram, installSystemPackage, isExecutable } from './system-package.mjs';

const HOW =
  'Install Redis (Debian, Ubuntu: "sudo apt-get install redis-server"; macOS: "brew install redis"), ' +
  'or set REDIS_SERVER to the path of a redis-server program.';

/**
 * Finds redis-server: REDIS_SERVER, the PATH, or else installs it from the system's packages when permitted.
 *
 * @returns {Promise<string>} the path of a program that runs
 * @throws {SetupError} when there is none and none can be installed
 */
export async function ensureRedis() {
  const given = process.env.REDIS_SERVER;
  if (given !== undefined && given !== '') {
    if (!isExecutable(given)) {
      throw new SetupError(`REDIS_SERVER is "${given}", which is not a program that can be run. ${HOW}`);
    }
    return checked(given);
  }
  const found = findProgram('redis-server');
  if (found !== undefined) return checked(found);

  const refusal = await installSystemPackage({ apt: 'redis-server', brew: 'redis', service: 'redis-server' });
  if (refusal !== undefined) throw new SetupError(`No redis-server was found, and ${refusal}. ${HOW}`);
  const installed = findProgram('redis-server');
  if (installed === undefined) {
    throw new SetupError(`The package was installed, but redis-server is still not on the PATH. ${HOW}`);
  }
  return checked(installed);
}

async function checked(path) {
  const { code, output } = await run(path, ['--version'], { quiet: true, limitMs: 10_000 });
  if (code === 0) return path;
  throw new SetupError(`"${path} --version" failed: ${output.trim()}. ${HOW}`);
}
