/** The counts of Jest and pytest are read as they are meant: every error is a failure, nothing is counted twice. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { loadScript } from './load-script.js';

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

interface ReportScript {
  countJest(file: string): Count | undefined;
  countPytest(file: string): Count | undefined;
  toResult(
    name: string,
    count: Count | undefined,
    end: { code: number; killedBecause: string | undefined; leftBehind: string[] },
  ): Count & { faults: string[] };
}

const { countJest, countPytest, toResult } = await loadScript<ReportScript>('test-report');
const folder = mkdtempSync(join(tmpdir(), 'mesh-test-report-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, 'report');
  writeFileSync(path, text);
  return path;
}

describe('A report', () => {
  it('of Jest counts a file that could not run as one failure', () => {
    const report = {
      numPassedTests: 5,
      numFailedTests: 1,
      numRuntimeErrorTestSuites: 2,
      numPendingTests: 1,
      numTodoTests: 1,
    };
    expect(countJest(file(JSON.stringify(report)))).toEqual({ passed: 5, failed: 3, skipped: 2 });
  });

  it('of pytest counts errors as failures', () => {
    const xml =
      '<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="2" skipped="3" ' +
      'tests="10" time="0.1"><testcase name="a"><failure message="tests=&quot;99&quot;"/></testcase></testsuite></testsuites>';
    expect(countPytest(file(xml))).toEqual({ passed: 4, failed: 3, skipped: 3 });
  });

  it('that is missing is told from one that is empty', () => {
    expect(countJest(join(folder, 'none'))).toBeUndefined();
    expect(countPytest(join(folder, 'none'))).toBeUndefined();
  });
});

describe('A result', () => {
  const ended = { code: 0, killedBecause: undefined, leftBehind: [] };
  const count = { passed: 3, failed: 0, skipped: 0 };

  it('is the count when all went well', () => {
    expect(toResult('x', count, ended)).toMatchObject({ passed: 3, failed: 0, faults: [] });
  });

  it.each([
    ['the runner failed although no test did', count, { ...ended, code: 5 }],
    ['the runner was killed', count, { ...ended, code: 1, killedBecause: 'too long' }],
    ['there is no report', undefined, ended],
    ['processes were left running', count, { ...ended, leftBehind: ['12 redis-server'] }],
  ])('is a failure when %s', (_what, counted, end) => {
    expect(toResult('x', counted, end)).toMatchObject({ failed: 1, faults: [expect.any(String)] });
  });
});
