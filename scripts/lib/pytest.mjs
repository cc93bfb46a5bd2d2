/** Runs the Python peer's own tests. */
import { join } from 'node:path';
import { PYTHON_PEER } from './paths.mjs';
import { run } from './run.mjs';
import { countPytest, toResult } from './test-report.mjs';

/** They take well under a minute, so past this something hangs. */
const LIMIT_MS = 10 * 60_000;

/**
 * Runs pytest in the Python peer's folder and counts, as `runJest` does.
 *
 * @param {string} python an interpreter that has pytest
 * @param {{ reports: string, env?: Record<string, string | undefined> }} options `reports`: an empty folder
 */
export async function runPytest(python, { reports, env }) {
  const report = join(reports, 'pytest.xml');
  const end = await run(python, ['-m', 'pytest', `--junitxml=${report}`], {
    cwd: PYTHON_PEER,
    env,
    limitMs: LIMIT_MS,
  });
  return toResult('pytest', countPytest(report), end);
}
