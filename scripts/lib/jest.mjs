/** Runs Jest so that it cannot hang, and takes what it leaves running for the failure that it is. */
import { watch } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { countJest, toResult } from './test-report.mjs';

/** The whole run; a run takes a few minutes, so past this something hangs. */
const LIMIT_MS = 20 * 60_000;
/** From the report, which Jest writes when the last test is done, to its exit. */
const EXIT_LIMIT_MS = 15_000;

// Flags by which tests are chosen; an argument that is no flag is a path pattern.
const SELECTING =
  /^(-t|-o|--(testNamePattern|testPathPatterns?|runTestsByPath|onlyChanged|onlyFailures|changedSince|findRelatedTests|shard)(=.*)?)$/;

/**
 * True when the arguments choose some of the Jest tests.
 *
 * @param {readonly string[]} args
 */
export function selectsTests(args) {
  return args.some((arg) => !arg.startsWith('-') || SELECTING.test(arg));
}

/**
 * Runs Jest and counts; see `toResult`.
 *
 * @param {readonly string[]} args for Jest
 * @param {{ reports: string, env?: Record<string, string | undefined>, node?: string, name?: string, limitMs?: number, exitLimitMs?: number, root?: string, quiet?: boolean }} options
 *   `reports`: an empty folder; `node`: the Node program to run it on (default: this one); limits in milliseconds
 */
export async function runJest(
  args,
  {
    reports,
    env,
    node = process.execPath,
    name = 'Jest',
    limitMs = LIMIT_MS,
    exitLimitMs = EXIT_LIMIT_MS,
    root = ROOT,
    quiet = false,
  },
) {
  const report = join(reports, 'jest.json');
  const late = afterReport(report, exitLimitMs);
  const jest = join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
  const end = await run(
    node,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      jest,
      '--json',
      '--outputFile',
      report,
      ...args,
    ],
    { cwd: root, env, limitMs, quiet, signal: late.signal },
  );
  late.stop();
  return toResult(name, countJest(report), end);
}

/** Aborts when Jest is still there some time after it has written its report: then a test has left something open. */
function afterReport(report, exitLimitMs) {
  const controller = new AbortController();
  const reason =
    `all tests were done, but it did not exit within ${exitLimitMs / 1_000} s, so a test leaves something open ` +
    '(sockets, servers, timers); "--detectOpenHandles" names it';
  let timer;
  const watcher = watch(join(report, '..'), (_event, file) => {
    if (file === basename(report)) timer ??= setTimeout(() => controller.abort(reason), exitLimitMs);
  });
  return {
    signal: controller.signal,
    stop: () => {
      watcher.close();
      clearTimeout(timer);
    },
  };
}
