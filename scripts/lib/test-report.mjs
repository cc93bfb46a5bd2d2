/** Counts passed and failed tests in the report files of Jest (JSON) and pytest (JUnit XML). */
import { existsSync, readFileSync } from 'node:fs';

/**
 * @typedef {object} Count
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 */

/**
 * The counts in Jest's `--json` report; a file that could not be run at all is one failure.
 *
 * @param {string} file
 * @returns {Count | undefined} `undefined` when there is no report: Jest never got to its end
 */
export function countJest(file) {
  if (!existsSync(file)) return undefined;
  const report = JSON.parse(readFileSync(file, 'utf8'));
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/**
 * The counts in pytest's `--junitxml` report; an error in a fixture or at collection is a failure.
 *
 * @param {string} file
 * @returns {Count | undefined} `undefined` when there is no report: pytest never got to its end
 */
export function countPytest(file) {
  if (!existsSync(file)) return undefined;
  const suites = readFileSync(file, 'utf8').match(/<testsuite\s[^>]*>/g) ?? [];
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const suite of suites) {
    const attribute = (name) => Number(new RegExp(`\\s${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
    const failed = attribute('failures') + attribute('errors');
    const skipped = attribute('skipped');
    count.passed += Math.max(0, attribute('tests') - failed - skipped);
    count.failed += failed;
    count.skipped += skipped;
  }
  return count;
}

/**
 * One runner's line of the summary. What went wrong beside failed tests is one further failure each, told in `faults`.
 *
 * @param {string} name of the runner
 * @param {Count | undefined} count from its report
 * @param {import('./run.mjs').RunResult} end
 * @returns {Count & { name: string, faults: string[] }}
 */
export function toResult(name, count, { code, killedBecause, leftBehind }) {
  const faults = [];
  if (killedBecause !== undefined) faults.push(`it was killed: ${killedBecause}`);
  else if (count === undefined) faults.push(`it ended with exit code ${code} before its report`);
  else if (code !== 0 && count.failed === 0)
    faults.push(`it ended with exit code ${code}; its own words are above`);
  if (leftBehind.length > 0) faults.push(`its tests left processes running: ${leftBehind.join(', ')}`);
  const { passed, failed, skipped } = count ?? { passed: 0, failed: 0, skipped: 0 };
  return { name, passed, failed: failed + faults.length, skipped, faults };
}
