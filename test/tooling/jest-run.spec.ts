/** `npm test` cannot hang, and no failure of Jest or of its surroundings is counted as a success. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadScript } from './load-script.js';

interface Result {
  passed: number;
  failed: number;
  faults: string[];
}

const { selectsTests } = await loadScript<{ selectsTests(args: string[]): boolean }>('jest');
const SCRIPT = new URL('../../scripts/lib/jest.mjs', import.meta.url).href;
const ENVIRONMENT = join(import.meta.dirname, 'leak-environment.mjs');
const PASSING = `test('passes', () => {});`;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mesh-jest-run-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Runs Jest, by way of the script, on a project of one test file and perhaps a global setup. */
async function runProject(
  { spec, setup }: { spec: string; setup?: string },
  limits: { limitMs?: number; exitLimitMs?: number } = {},
): Promise<Result> {
  const config = {
    testEnvironment: ENVIRONMENT,
    testMatch: ['<rootDir>/*.spec.mjs'],
    transform: {},
    ...(setup === undefined ? {} : { globalSetup: '<rootDir>/setup.mjs' }),
  };
  writeFileSync(join(root, 'jest.config.json'), JSON.stringify(config));
  writeFileSync(join(root, 'only.spec.mjs'), spec);
  if (setup !== undefined) writeFileSync(join(root, 'setup.mjs'), setup);
  // In a program of its own: Jest gives tests a copy of `process`, on which the script would never hear of a Ctrl-C.
  const options = JSON.stringify({ reports: root, root, quiet: true, ...limits });
  const program = `import { runJest } from '${SCRIPT}'; console.log(JSON.stringify(await runJest([], ${options})));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
  return JSON.parse(stdout) as Result;
}

/** A zombie, which stays where no init reaps it, runs no more. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'));
}

describe('A run of Jest', () => {
  it('counts what passed and what failed', async () => {
    const spec = `${PASSING} test('fails', () => { throw new Error('no'); });`;
    expect(await runProject({ spec })).toMatchObject({ passed: 1, failed: 1, faults: [] });
  });

  it('counts a file that cannot be loaded as a failure', async () => {
    expect(await runProject({ spec: `import './gone.mjs'; ${PASSING}` })).toMatchObject({
      passed: 0,
      failed: 1,
    });
  });

  it.each([
    [
      'a server',
      `import { createServer } from 'node:http2'; test('listens', (done) => { createServer().listen(0, () => done()); });`,
    ],
    ['a timer', `test('waits', () => { setTimeout(() => {}, 600_000); });`],
  ])('fails a file that leaves %s behind', async (_what, spec) => {
    // Jest itself would hang on it, which the next tests are about; here the file has failed before.
    const { failed } = await runProject({ spec }, { exitLimitMs: 500 });
    expect(failed).toBeGreaterThanOrEqual(1);
  });

  it('fails when no test was found', async () => {
    const { faults, failed } = await runProject({ spec: '' });
    expect(failed).toBeGreaterThanOrEqual(1);
    expect(faults.length).toBeLessThanOrEqual(1);
  });

  it('is killed when it runs too long, and says so', async () => {
    const result = await runProject({ spec: `test('spins', () => { for (;;); });` }, { limitMs: 3_000 });
    expect(result).toMatchObject({ passed: 0, failed: 1 });
    expect(result.faults[0]).toContain('it ran longer than 3 s');
  });

  it('is killed when all tests are done but it does not exit', async () => {
    const setup = `import { createServer } from 'node:net'; export default () => { createServer().listen(0); };`;
    const result = await runProject({ spec: PASSING, setup }, { exitLimitMs: 500 });
    expect(result).toMatchObject({ passed: 1, failed: 1 });
    expect(result.faults[0]).toContain('a test leaves something open');
  });

  it('fails, and ends them, when tests leave programs running', async () => {
    const spec = `
      import { spawn } from 'node:child_process';
      test('spawns', () => { spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' }).unref(); });`;
    const result = await runProject({ spec });
    expect(result).toMatchObject({ passed: 1, failed: 1 });
    const pid = Number(/running: (\d+) /.exec(result.faults[0] ?? '')?.[1]);
    expect(pid).toBeGreaterThan(0);
    expect(isRunning(pid)).toBe(false);
  });
});

describe('The arguments of npm test', () => {
  it.each([
    [['test/registry']],
    [['-t', 'name']],
    [['--testPathPatterns=registry']],
    [['--coverage', 'test/nest']],
  ])('%j select tests, so pytest is left out', (args) => expect(selectsTests(args)).toBe(true));

  it.each([[[]], [['--coverage']], [['--maxWorkers=1', '--verbose']]])('%j run everything', (args) =>
    expect(selectsTests(args)).toBe(false),
  );
});
