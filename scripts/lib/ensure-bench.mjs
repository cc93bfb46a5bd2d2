/** Makes sure that the benchmark can run: its packages, the library as its users get it, and its compiled programs. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuild } from './ensure-build.mjs';
import { ensureNpm, runNpm } from './ensure-npm.mjs';
import { BENCH, CACHE, ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { SetupError } from './setup-error.mjs';

/** The library inside the benchmark's packages: unpacked from its tarball, since it is in no lock file. */
const LIBRARY = join(BENCH, 'node_modules', 'nestjs-mesh');
/** Written by `ensureBuild()`; it changes whenever the sources do. */
const BUILT_FROM = join('dist', '.built-from');

/**
 * Installs the benchmark's npm packages and, among them, this library, packed as it would be published; does nothing
 * when both are there and up to date.
 *
 * @returns {Promise<void>}
 * @throws {SetupError} when npm, the build or the packing fails
 */
export async function ensureBenchPackages() {
  await ensureNpm();
  await ensureNpm({ root: BENCH });
  await ensureBuild();
  if (readOr(join(LIBRARY, BUILT_FROM)) === readOr(join(ROOT, BUILT_FROM))) return;
  const folder = join(CACHE, `bench-package-${process.pid}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    // Built already: the script "prepack" would only do it again.
    const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
    await succeed('npm pack', runNpm(pack, { cwd: ROOT, quiet: true }));
    const [tarball] = readdirSync(folder);
    rmSync(LIBRARY, { recursive: true, force: true });
    mkdirSync(LIBRARY, { recursive: true });
    const unpack = ['-xzf', join(folder, tarball ?? ''), '-C', LIBRARY, '--strip-components=1'];
    await succeed('tar', run('tar', unpack, { quiet: true }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * As {@link ensureBenchPackages}, and compiles the benchmark.
 *
 * @returns {Promise<string>} the path of its entry
 * @throws {SetupError} when something of it fails
 */
export async function ensureBench() {
  await ensureBenchPackages();
  const out = join(BENCH, 'dist');
  const stamp = join(out, '.built-from');
  const wanted = fingerprint();
  const entry = join(out, 'run.js');
  if (existsSync(entry) && readOr(stamp) === wanted) return entry;
  rmSync(out, { recursive: true, force: true });
  const tsc = join(BENCH, 'node_modules', 'typescript', 'bin', 'tsc');
  await succeed('tsc -p bench', run(process.execPath, [tsc, '-p', BENCH], { quiet: true }));
  writeFileSync(stamp, wanted);
  return entry;
}

/** Changes whenever compiling may give something else. */
function fingerprint() {
  const hash = createHash('sha256').update(readOr(join(ROOT, BUILT_FROM)) ?? '');
  const sources = readdirSync(join(BENCH, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const files = ['package-lock.json', 'tsconfig.json', ...sources.sort().map((name) => join('src', name))];
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(BENCH, file)));
  return hash.digest('hex');
}

/** @param {string} file */
function readOr(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

async function succeed(what, running) {
  const { code, output } = await running;
  if (code !== 0) throw new SetupError(`"${what}" failed with exit code ${code}:\n${output.trim()}`);
}
