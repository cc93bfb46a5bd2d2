/** Makes sure that the npm packages which package-lock.json names are installed. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { SetupError } from './setup-error.mjs';

const LEAST_NODE = [20, 19];

/**
 * Installs the npm packages of `root` when they are missing or are not those of its package-lock.json.
 *
 * Does nothing, in a few milliseconds, when they are there.
 *
 * @param {{ root?: string }} [options] `root`: the folder of package.json (default: the repository)
 * @returns {Promise<void>}
 * @throws {SetupError} when Node is too old, or npm fails
 */
export async function ensureNpm({ root = ROOT } = {}) {
  checkNode();
  const why = reasonToInstall(root);
  if (why === undefined) return;
  // `npm ci` installs exactly what the lock file says, but refuses to work without one.
  const verb = existsSync(join(root, 'package-lock.json')) ? 'ci' : 'install';
  console.log(`npm ${verb}: ${why}`);
  const { code } = await runNpm([verb, '--no-audit', '--no-fund'], { cwd: root });
  if (code !== 0) {
    throw new SetupError(
      `"npm ${verb}" failed with exit code ${code}; its own words are above. ` +
        (verb === 'ci'
          ? 'If it says that package.json and package-lock.json differ, run "npm install".'
          : ''),
    );
  }
}

/**
 * Runs npm: the one that started us, or else the one on the PATH.
 *
 * @param {readonly string[]} args
 * @param {import('./run.mjs').RunOptions} [options]
 */
export function runNpm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && basename(cli).startsWith('npm-cli') && existsSync(cli)) {
    return run(process.execPath, [cli, ...args], options);
  }
  return run(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, options);
}

/**
 * Why `root` needs an install, or `undefined` when it does not.
 *
 * Compares versions rather than file times, which a `git pull` or a copy changes without need.
 *
 * @param {string} root
 * @returns {string | undefined}
 */
export function reasonToInstall(root) {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return 'node_modules is missing';
  const locked = readPackages(join(root, 'package-lock.json'));
  if (locked === undefined) return undefined;
  for (const [path, { version, link, optional, devOptional, peer }] of Object.entries(locked)) {
    // The rest are folders of the repository: its top and its workspaces.
    if (!path.includes('node_modules/')) continue;
    const found = installed[path]?.version;
    if (link ? path in installed : found === version) continue;
    // Packages for other platforms are locked too, and rightly not installed.
    if (found === undefined && (optional || devOptional || peer)) continue;
    return `${path} is ${found ?? 'missing'}, and package-lock.json asks for ${version ?? 'a link'}`;
  }
  return undefined;
}

/** The `packages` table of a lock file, or `undefined` when there is none that can be read. */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])) return;
  throw new SetupError(`Node ${LEAST_NODE.join('.')} or newer is needed; this is ${process.versions.node}.`);
}
