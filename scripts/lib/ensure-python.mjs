/** Makes sure that a folder with Python programs has its virtual environment, with the packages it asks for. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PYTHON_PEER } from './paths.mjs';
import { run } from './run.mjs';
import { SetupError } from './setup-error.mjs';
import { installSystemPackage } from './system-package.mjs';

const PROBE = 'import sys; print(*sys.version_info[:2]); sys.exit(sys.version_info < (3, 8))';

/**
 * Makes `.venv` in a folder and installs its requirements into it; does nothing when both are there and neither the
 * requirements nor pyproject.toml have changed since.
 *
 * The interpreter is `PYTHON`, or else `python3` or `python`, the first that is 3.8 or newer; to change it later,
 * delete `.venv`.
 *
 * @param {{ peer?: string, requirements?: string }} [options] `peer`: the folder (default: sample-app/python-peer);
 *   `requirements`: the file in it that says what to install (default: requirements-dev.txt)
 * @returns {Promise<string>} the path of the virtual environment's interpreter
 * @throws {SetupError} when there is no fit Python, no `venv` module, or pip fails
 */
export async function ensurePython({ peer = PYTHON_PEER, requirements = 'requirements-dev.txt' } = {}) {
  if (!existsSync(join(peer, requirements))) {
    throw new SetupError(`${join(peer, requirements)} is missing: this is not a whole checkout.`);
  }
  const venv = join(peer, '.venv');
  const python = join(
    venv,
    ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']),
  );
  const stamp = join(venv, '.installed');
  const wanted = fingerprint(dirname(join(peer, requirements)));
  if (existsSync(python) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return python;

  console.log(`Python packages: installing ${requirements} into ${venv}`);
  // Without a stamp it is half made. With one, other programs may be using it: pip brings it up to date in place.
  if (!existsSync(python) || !existsSync(stamp)) await makeVenv(await findPython(), venv);
  const args = ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet', '-r', requirements];
  const { code } = await run(python, args, { cwd: peer });
  if (code !== 0) {
    throw new SetupError(
      `"pip install -r ${requirements}" failed with exit code ${code}; its own words are above.`,
    );
  }
  writeFileSync(stamp, wanted);
  return python;
}

/** Changes whenever an install may give something else. */
function fingerprint(peer) {
  const hash = createHash('sha256');
  const files = readdirSync(peer).filter((name) => /^requirements.*\.txt$|^pyproject\.toml$/.test(name));
  for (const name of files.sort()) hash.update(`${name}\0`).update(readFileSync(join(peer, name)));
  return hash.digest('hex');
}

async function findPython() {
  const given = process.env.PYTHON;
  const names = given === undefined || given === '' ? ['python3', 'python'] : [given];
  const faults = [];
  for (const name of names) {
    const { code, output } = await run(name, ['-c', PROBE], { quiet: true, limitMs: 30_000 });
    if (code === 0) return name;
    const version = /^(\d+) (\d+)\s*$/.exec(output);
    faults.push(version ? `"${name}" is Python ${version[1]}.${version[2]}` : `"${name}": ${output.trim()}`);
  }
  throw new SetupError(
    `Python 3.8 or newer is needed for the Python peer, and none was found (${faults.join('; ')}). ` +
      'Install Python, or set PYTHON to an interpreter.',
  );
}

/** Debian and Ubuntu split `venv` from Python; elsewhere it is always there. */
async function makeVenv(python, venv) {
  const attempt = () => run(python, ['-m', 'venv', '--clear', venv], { quiet: true });
  const first = await attempt();
  if (first.code === 0) return;
  const refusal = await installSystemPackage({ apt: 'python3-venv', brew: 'python' });
  const second = refusal === undefined ? await attempt() : first;
  if (second.code === 0) return;
  throw new SetupError(
    `"${python} -m venv ${venv}" failed${refusal === undefined ? '' : `, and ${refusal}`}:\n${second.output.trim()}\n` +
      'Install the venv module (Debian, Ubuntu: "sudo apt-get install python3-venv"), or set PYTHON to an ' +
      'interpreter that has it.',
  );
}
