/** Makes sure that the library and the Nest sample are built, from the sources as they are now. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runNpm } from './ensure-npm.mjs';
import { CACHE, ROOT } from './paths.mjs';
import { SetupError } from './setup-error.mjs';

/** The compiled entry of the Nest sample. */
export const NODE_PEER_MAIN = join(ROOT, 'sample-app', 'node-peer', 'dist', 'main.js');

/** Both builds together take some fifteen seconds; waiting for those of another process ends here, in milliseconds. */
const LOCK_LIMIT_MS = 180_000;
const LOCK = join(CACHE, 'build.lock');

const CONFIGURATION = ['package.json', 'nest-cli.json', 'tsconfig.json', 'tsconfig.build.json'];
const BUILDS = [
  {
    name: 'the library',
    args: ['run', '--silent', 'build'],
    sources: ['lib', ...CONFIGURATION],
    out: 'dist',
    entry: 'index.js',
  },
  {
    name: 'the Nest sample',
    args: ['run', '--silent', 'build', '--workspace', 'node-peer'],
    sources: [
      'lib',
      'tsconfig.json',
      ...['src', ...CONFIGURATION].map((file) => `sample-app/node-peer/${file}`),
    ],
    out: 'sample-app/node-peer/dist',
    entry: 'main.js',
  },
];

/**
 * Builds the library, and the Nest sample on top of it; what is up to date is left alone. Several processes may call
 * it at once: one builds, the others wait.
 *
 * @returns {Promise<void>}
 * @throws {SetupError} when a build fails
 */
export async function ensureBuild() {
  if (BUILDS.every(isCurrent)) return;
  await locked(async () => {
    for (const build of BUILDS) {
      if (isCurrent(build)) continue;
      console.log(`Building ${build.name}`);
      const wanted = fingerprint(build.sources);
      const { code } = await runNpm(build.args, { cwd: ROOT });
      if (code !== 0)
        throw new SetupError(`Building ${build.name} failed with exit code ${code}; see above.`);
      writeFileSync(stampOf(build), wanted);
    }
  });
}

/** Inside the output, which each build begins by deleting: a build by hand is not taken for one of ours. */
function stampOf({ out }) {
  return join(ROOT, out, '.built-from');
}

function isCurrent(build) {
  const stamp = stampOf(build);
  return (
    existsSync(join(ROOT, build.out, build.entry)) &&
    existsSync(stamp) &&
    readFileSync(stamp, 'utf8') === fingerprint(build.sources)
  );
}

/** Changes whenever a build may give something else. */
function fingerprint(sources) {
  const hash = createHash('sha256');
  for (const source of sources) {
    for (const file of filesIn(source)) hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest('hex');
}

/** @returns {string[]} */
function filesIn(path) {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path];
  return readdirSync(join(ROOT, path))
    .sort()
    .flatMap((name) => filesIn(`${path}/${name}`));
}

/** One process at a time; a lock whose holder has died is taken over. */
async function locked(act) {
  mkdirSync(CACHE, { recursive: true });
  for (const until = Date.now() + LOCK_LIMIT_MS; !takeLock(); await delay(200)) {
    if (Date.now() > until) {
      throw new SetupError(`Another process has been building for too long. If none is, delete ${LOCK}.`);
    }
  }
  try {
    return await act();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

function takeLock() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    if (holderIsGone()) rmSync(LOCK, { force: true });
    return false;
  }
}

function holderIsGone() {
  try {
    // Empty for the moment between its making and its writing.
    const holder = Number(readFileSync(LOCK, 'utf8'));
    return holder > 0 && !isAlive(holder);
  } catch {
    return false;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}
