/** `.ci/run` tells everything that is wrong in one go, and never ends green when something was. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

/** The steps of `.ci/run` beside the tests themselves. */
const STEPS = 12;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-ci-run-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Runs a copy of `.ci/run` where npm and Python are stand-ins, whose shell code is given. */
function ciRun(npm: string, python = 'exit 0'): { lines: string[]; code: number | null } {
  const bin = join(folder, 'bin');
  const venv = join(folder, 'sample-app', 'python-peer', '.venv', 'bin');
  for (const path of [bin, venv, join(folder, '.ci')]) mkdirSync(path, { recursive: true });
  copyFileSync(join(import.meta.dirname, '..', '..', '.ci', 'run'), join(folder, '.ci', 'run'));
  writeFileSync(join(bin, 'npm'), `#!/bin/sh\n${npm}\n`, { mode: 0o755 });
  writeFileSync(join(venv, 'python'), `#!/bin/sh\n${python}\n`, { mode: 0o755 });
  const { stdout, status } = spawnSync('bash', [join(folder, '.ci', 'run')], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  });
  return { lines: stdout.trimEnd().split('\n'), code: status };
}

describe('.ci/run', () => {
  it('ends with the tests and the steps counted, and exit code 0, when all is well', () => {
    const { lines, code } = ciRun(`[ "$1" = test ] && echo "7 passed, 0 failed"; exit 0`);
    expect(lines.at(-1)).toBe(`${7 + STEPS} passed, 0 failed`);
    expect(code).toBe(0);
  });

  it('goes on after a failure, names what failed, and exits non-zero', () => {
    const { lines, code } = ciRun(
      `case "$*" in test) echo "5 passed, 2 failed"; exit 1;; *lint) exit 1;; esac; exit 0`,
      `[ "$2" = mypy ] && exit 1; exit 0`,
    );
    expect(lines.slice(-5)).toEqual([
      'failed: npm test',
      'failed: lint',
      'failed: Python types',
      'failed: Python types of the benchmark',
      `${5 + STEPS - 3} passed, 5 failed`,
    ]);
    expect(code).not.toBe(0);
  });

  it.each([
    ['broke off before its count', `[ "$1" = test ] && exit 1; exit 0`],
    ['said nothing', `exit 0`],
    ['ran no test', `[ "$1" = test ] && echo "0 passed, 0 failed"; exit 0`],
    ['failed without counting a failure', `[ "$1" = test ] && echo "5 passed, 0 failed" && exit 1; exit 0`],
  ])('counts a failure when npm test %s', (_what, npm) => {
    const { lines, code } = ciRun(npm);
    expect(lines.at(-1)).toMatch(/^\d+ passed, 1 failed$/);
    expect(code).not.toBe(0);
  });
});
