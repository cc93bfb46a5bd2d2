/**
 * `npm test`: installs what is missing, runs Jest and the Python peer's pytest, and sums both up.
 *
 * Arguments go to Jest: `npm test -- test/registry`. Those that select tests leave pytest out.
 * Needs nothing but Node, so that it works in a fresh clone.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBench } from './lib/ensure-bench.mjs';
import { ensureNpm } from './lib/ensure-npm.mjs';
import { ensurePython } from './lib/ensure-python.mjs';
import { ensureRedis } from './lib/ensure-redis.mjs';
import { runJest, selectsTests } from './lib/jest.mjs';
import { CACHE } from './lib/paths.mjs';
import { runPytest } from './lib/pytest.mjs';
import { runMain, SetupError } from './lib/setup-error.mjs';

await runMain(async () => {
  const jestArgs = process.argv.slice(2);
  const selected = selectsTests(jestArgs);
  await ensureNpm();
  // A selection may well need neither of them; a test that does says itself that it is missing.
  const redis = await orWarn(selected, ensureRedis);
  const python = await orWarn(selected, ensurePython);

  // A selection that has the benchmark in it installs it by itself.
  if (!selected) await ensureBench();

  const reports = join(CACHE, `test-report-${process.pid}`);
  mkdirSync(reports, { recursive: true });
  const env = { REDIS_SERVER: redis, MESH_PYTHON: python };
  const results = [];
  try {
    results.push(await runJest(jestArgs, { env, reports }));
    if (!selected) results.push(await runPytest(python, { env, reports }));
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
  return summarize(results, selected);
});

/** @param {boolean} selected */
async function orWarn(selected, ensure) {
  try {
    return await ensure();
  } catch (error) {
    if (!selected || !(error instanceof SetupError)) throw error;
    console.warn(`Going on without: ${error.message}\n`);
    return undefined;
  }
}

/** Prints the table and the closing line; the exit code. */
function summarize(results, selected) {
  console.log('');
  for (const { name, passed, failed, skipped, faults } of results) {
    console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
    for (const fault of faults) console.log(`  failed: ${fault}`);
  }
  if (selected) console.log('pytest: left out, since the arguments select Jest tests');
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 ? 1 : 0;
}
