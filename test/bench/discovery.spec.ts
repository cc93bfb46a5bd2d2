/** `--discovery` measures what it says: a mesh that really is there, whose nodes see each other. Never times. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..');
const BENCH = join(ROOT, 'scripts', 'bench.mjs');
/** A fresh clone installs the packages of the benchmark first, which `npm test` does before the tests. */
const INSTALL_LIMIT_MS = 300_000;
const RUN_LIMIT_MS = 120_000;

const run = promisify(execFile);
beforeAll(async () => {
  await run(process.execPath, [BENCH, '--list']);
}, INSTALL_LIMIT_MS);

/** Runs it; gives the lines that are results. */
async function discovery(...args: string[]): Promise<Record<string, unknown>[]> {
  const { stdout } = await run(process.execPath, [BENCH, '--discovery', ...args]);
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('The benchmark of discovery', () => {
  it(
    'asks for the same whether its nodes are real or replayed, over one connection each',
    async () => {
      const rest = ['--nodes', '40', '--refresh', '0', '--rest', '--seconds', '6'];
      const [[real], [replayed]] = [await discovery(...rest), await discovery(...rest, '--real', '1')];
      for (const point of [real, replayed]) {
        expect(point).toMatchObject({ nodes: 40, warnings: [] });
        expect(point?.['connections']).toBeCloseTo(1, 1);
      }
      const commands = [real, replayed].map(
        (point) => (point?.['rest'] as { commandsPerNode: number } | undefined)?.commandsPerNode,
      );
      // SET, ZADD, MGET, XREAD, and ZRANGEBYSCORE for each of three services, every other second; some rare ones on top.
      for (const each of commands) expect(each).toBeGreaterThan(3);
      for (const each of commands) expect(each).toBeLessThan(5);
    },
    RUN_LIMIT_MS,
  );

  it(
    'reads the view of a service',
    async () => {
      const points = await discovery('--nodes', '0', '--refresh', '20');
      expect(points).toEqual([
        {
          nodes: 20,
          allMs: expect.any(Number) as unknown,
          oneJoinMs: expect.any(Number) as unknown,
          restMs: expect.any(Number) as unknown,
        },
      ]);
    },
    RUN_LIMIT_MS,
  );

  it('names arguments that make no sense', async () => {
    await expect(discovery('--nodes', 'many')).rejects.toThrow(/--nodes takes whole numbers/);
  });
});
