/** The benchmark measures what it says: every peer answers every case rightly, and nothing of it is left behind. Never times. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cases } from '../../bench/src/cases/index.js';
import type { Results } from '../../bench/src/report/results.js';
import { eventually } from '../support/eventually.js';
import { loadScript } from '../tooling/load-script.js';

const ROOT = join(import.meta.dirname, '..', '..');
const BENCH = join(ROOT, 'scripts', 'bench.mjs');
/** A fresh clone installs the packages of the benchmark first, which `npm test` does before the tests. */
const INSTALL_LIMIT_MS = 300_000;
const RUN_LIMIT_MS = 180_000;

/** Memory and cold starts take their time, whatever the window, and ask the same handlers. */
const tried = cases.filter(({ group }) => group !== 'memory' && group !== 'cold-start' && group !== 'nodes');

const run = promisify(execFile);
const { groupMembers } = await loadScript<{ groupMembers(leader: number | undefined): string[] }>(
  'process-group',
);

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-bench-spec-'));
  await run(process.execPath, [BENCH, '--list']);
}, INSTALL_LIMIT_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the benchmark with the shortest rounds there are; TMPDIR is a folder of the test's own. */
function bench(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, TMPDIR: folder };
  return run(process.execPath, [BENCH, '--window', '5', '--rounds', '1', ...args], { env });
}

describe('The benchmark', () => {
  it(
    'has every peer answer every case rightly, or say why not',
    async () => {
      const out = join(folder, 'results.json');
      await bench('--out', out, '--case', tried.map(({ name }) => name).join(','));
      const results = JSON.parse(readFileSync(out, 'utf8')) as Results;
      for (const each of results.cases) {
        for (const { peer, rounds, unable, failed } of each.results) {
          const what = `${peer} in ${each.name}`;
          expect([what, failed]).toEqual([what, undefined]);
          if (unable !== undefined) expect([what, rounds.length]).toEqual([what, 0]);
          else expect([what, rounds.map(({ value }) => value > 0)]).toEqual([what, [true]]);
          expect([what, rounds.map(({ lost = 0 }) => lost)]).toEqual([what, rounds.map(() => 0)]);
        }
      }
      const calls = results.cases.find(({ name }) => name === 'calls-100b-128');
      const absent = results.peers.filter((peer) => peer.absent !== undefined).map(({ name }) => name);
      // A machine may lack these programs; everything else is there wherever the tests run.
      const mayLack = ['nest-nats', 'mesh-to-python', 'grpc-to-python', 'python-to-mesh', 'python-to-grpc'];
      expect(absent.filter((name) => !mayLack.includes(name))).toEqual([]);
      expect(calls?.results.map(({ peer }) => peer)).toEqual(
        expect.arrayContaining(['mesh', 'mesh-tls', 'nest-tcp', 'nest-grpc', 'nest-redis', 'moleculer']),
      );
    },
    RUN_LIMIT_MS,
  );

  it('deletes its folder', () => {
    expect(readdirSync(folder).filter((name) => name.startsWith('mesh-bench-'))).toEqual([]);
  });

  it('names what it does not know, and what it knows', async () => {
    await expect(bench('--case', 'nonsense')).rejects.toThrow(
      /--case names "nonsense", which is none of .*calls-100b-1,/s,
    );
    await expect(bench('--peer', 'carrier-pigeon')).rejects.toThrow(/--peer names "carrier-pigeon"/);
    await expect(bench('--rounds', '0')).rejects.toThrow(/--rounds must be a whole number from 1, not "0"/);
  });
});

describe('A benchmark that is broken off', () => {
  /** The compiled benchmark itself, as the leader of a process group, up to its first table. */
  async function started(): Promise<ChildProcess> {
    const env = {
      ...process.env,
      TMPDIR: folder,
      REDIS_SERVER: process.env['REDIS_SERVER'] ?? 'redis-server',
    };
    const args = ['--case', 'calls-100b-1,calls-100b-16', '--peer', 'mesh,nest-tcp', '--window', '150'];
    const child = spawn(process.execPath, [join(ROOT, 'bench', 'dist', 'run.js'), ...args], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.stdout.resume();
    // Itself, redis-server, and two programs for each peer.
    expect(groupMembers(child.pid).length).toBeGreaterThanOrEqual(6);
    return child;
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'by %s leaves no process',
    async (signal) => {
      const child = await started();
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
      await eventually('all of it is gone', () => groupMembers(child.pid).length === 0);
    },
    RUN_LIMIT_MS,
  );
});
