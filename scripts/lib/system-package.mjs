/** Installs one package of the operating system where that is permitted: apt as root or by sudo, or Homebrew. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run } from './run.mjs';

/** Set to 1, it forbids the scripts to install packages of the operating system. */
export const NO_SYSTEM_INSTALL = 'MESH_NO_SYSTEM_INSTALL';

// invoke-rc.d and deb-systemd-invoke ask policy-rc.d before they start the service of a fresh package: 101 means no.
// `systemctl disable` then keeps it from starting with the machine. A service that was there before is left as it is.
const APT_SCRIPT = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get update
apt-get install -y --no-install-recommends "$1"
if [ -d /run/systemd/system ] && [ -n "$2" ]; then systemctl disable --quiet "$2" || true; fi
`;

/**
 * Installs a system package, saying so first; no service of it is left running.
 *
 * @param {{ apt: string, brew: string, service?: string }} names `service`: the systemd unit that must not start by itself
 * @returns {Promise<string | undefined>} why it was not installed, or `undefined` when it was
 */
export async function installSystemPackage({ apt, brew, service = '' }) {
  if (process.env[NO_SYSTEM_INSTALL] === '1') return `${NO_SYSTEM_INSTALL}=1 forbids to install it`;
  if (findProgram('apt-get') !== undefined) {
    const sudo = await rootPrefix();
    if (sudo === undefined) return 'installing it needs root, or sudo without a password';
    console.log(`Installing the system package "${apt}" with apt-get (${NO_SYSTEM_INSTALL}=1 forbids it)`);
    const [command, ...args] = [...sudo, 'sh', '-c', APT_SCRIPT, 'install', apt, service];
    const { code } = await run(command, args);
    return code === 0 ? undefined : `apt-get failed with exit code ${code}; its own words are above`;
  }
  if (findProgram('brew') !== undefined) {
    console.log(`Installing "${brew}" with Homebrew (${NO_SYSTEM_INSTALL}=1 forbids it)`);
    const { code } = await run('brew', ['install', brew]);
    return code === 0 ? undefined : `"brew install ${brew}" failed with exit code ${code}`;
  }
  return 'neither apt-get nor Homebrew is on this machine to install it with';
}

/**
 * Where a program is on the PATH (and in the folders for servers, which a user's PATH may lack).
 *
 * @param {string} name
 * @returns {string | undefined}
 */
export function findProgram(name) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const names = process.platform === 'win32' ? [`${name}.exe`] : [name];
  return [...folders, '/usr/local/bin', '/usr/sbin', '/opt/homebrew/bin']
    .flatMap((folder) => names.map((file) => join(folder, file)))
    .find(isExecutable);
}

/** @param {string} file */
export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What to put before a command so that it runs as root, or `undefined` when nothing does. */
async function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  if (findProgram('sudo') === undefined) return undefined;
  const { code } = await run('sudo', ['-n', 'true'], { quiet: true });
  return code === 0 ? ['sudo', '-n'] : undefined;
}
