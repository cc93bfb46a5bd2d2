/**
 * `npm run chaos`: breaks a mesh of real processes under load, and prints what that has cost its callers.
 *
 * `--short`: the version that the test suite runs; `--long`: an hour of mixed load; names of rows: only these.
 * `--write` makes `docs/reliability.md` and its plots from the run.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compilePrograms } from './lib/compile-programs.mjs';
import { ensureBench } from './lib/ensure-bench.mjs';
import { ensureNpm } from './lib/ensure-npm.mjs';
import { ensurePython } from './lib/ensure-python.mjs';
import { ensureRedis } from './lib/ensure-redis.mjs';
import { BENCH, CACHE, ROOT } from './lib/paths.mjs';
import { run } from './lib/run.mjs';
import { runMain } from './lib/setup-error.mjs';

await runMain(async () => {
  await ensureNpm();
  const env = { REDIS_SERVER: await ensureRedis() };
  await ensurePython();
  const compiled = await compilePrograms();
  mkdirSync(CACHE, { recursive: true });
  const results = join(CACHE, 'chaos.json');
  const args = process.argv.slice(2).filter((arg) => arg !== '--write');
  try {
    const main = join(compiled.folder, 'test', 'chaos', 'main.js');
    const { code } = await run(process.execPath, [main, ROOT, results, ...args], { cwd: ROOT, env });
    if (!process.argv.includes('--write')) return code;
    await ensureBench();
    const draw = join(BENCH, 'dist', 'reliability', 'draw.js');
    return Math.max(code, (await run(process.execPath, [draw, results], { cwd: ROOT })).code);
  } finally {
    compiled.remove();
  }
});
