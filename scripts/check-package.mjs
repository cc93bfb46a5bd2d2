/**
 * `npm run check:package`: packs the package as it would be published, lints it, and uses it as strangers would:
 * in an empty project outside the repository, from plain JavaScript, TypeScript and CommonJS.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureNpm, runNpm } from './lib/ensure-npm.mjs';
import { CACHE, ROOT } from './lib/paths.mjs';
import { run } from './lib/run.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';

const USERS = join(ROOT, 'scripts', 'package-users');
/** A user's program starts and stops within a second; one that hangs holds something open after close(). */
const USER_LIMIT_MS = 60_000;

await runMain(async () => {
  await ensureNpm();
  const tarball = await pack();
  await step('publint', () => tool('publint/src/cli.js', ['run', tarball, '--strict']));
  await step('are the types wrong', () =>
    tool('@arethetypeswrong/cli/dist/index.js', [tarball, '--profile', 'esm-only', '--no-color']),
  );

  const project = mkdtempSync(join(tmpdir(), 'mesh-package-'));
  const node = (...args) => run(process.execPath, args, { cwd: project, limitMs: USER_LIMIT_MS });
  try {
    makeProject(project);
    await step('install into an empty project', () => install(project, tarball));
    await step('use from plain JavaScript', () => node('plain.mjs'));
    await step('use from CommonJS', () => node('common.cjs'));
    await step('compile from TypeScript', () =>
      node(join('node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'),
    );
    await step('use from TypeScript', () => node(join('out', 'typed.js')));
    await step('test with nestjs-mesh/testing', () => node(join('out', 'tested.js')));
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
  console.log('\nThe package is sound.');
});

/** Builds (by the script "prepack") and packs; the path of the tarball. */
async function pack() {
  const folder = join(CACHE, 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await step('build and pack', () => runNpm(['pack', '--pack-destination', folder], { cwd: ROOT }));
  const [name] = readdirSync(folder);
  if (name === undefined) throw new SetupError(`"npm pack" left no tarball in ${folder}`);
  return join(folder, name);
}

/** @param {string} project */
function makeProject(project) {
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'package-user', private: true, type: 'module' }),
  );
  for (const file of readdirSync(USERS)) copyFileSync(join(USERS, file), join(project, file));
}

/** Beside the package: the peers a user has, in the versions that we test with, and what TypeScript, tests and Nest's HTTP need. */
function install(project, tarball) {
  const { peerDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const names = [
    ...Object.keys(peerDependencies),
    '@nestjs/platform-express',
    '@nestjs/testing',
    '@types/node',
    'typescript',
  ];
  const wanted = names.map((name) => `${name}@${installedVersion(name)}`);
  return runNpm(['install', '--no-audit', '--no-fund', '--prefer-offline', tarball, ...wanted], {
    cwd: project,
  });
}

function installedVersion(name) {
  return JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version;
}

/** Runs a command-line tool of the repository by its file, since `.bin` differs between systems. */
function tool(file, args) {
  return run(process.execPath, [join(ROOT, 'node_modules', file), ...args], { cwd: ROOT });
}

async function step(name, act) {
  console.log(`\n-- ${name}`);
  const { code, killedBecause } = await act();
  if (code === 0) return;
  throw new SetupError(`check:package failed at "${name}": ${killedBecause ?? `exit code ${code}`}`);
}
