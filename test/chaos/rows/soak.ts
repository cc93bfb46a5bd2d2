/** A long time of mixed load, in which nothing may grow. */
import type { Program } from '../program.js';
import { failures, none, type Check, type Row } from '../row.js';
import type { Usage } from '../settings.js';
import { mixedLoad, threeNodes } from './mixed.js';

const SHORT_MS = 15_000;
const LONG_MS = 2 * 60_000;
const HOUR_MS = 60 * 60_000;
/** Until caches are filled and code is compiled. */
const WARM_MS = 5_000;
/** What two looks at a process under load may differ by. */
const ROOM: Usage = { heapBytes: 8 << 20, handles: 10, held: 200 };
/** Of a Python process all objects are counted: those of the calls under way, and the caches of the standard library. */
const PYTHON_HELD = 5_000;

const isHour = process.argv.includes('--long');

/** An hour with `--long`. */
export const soak: Row = {
  name: 'soak',
  title: 'mixed load',
  lengths: { long: isHour ? '1 hour' : `${LONG_MS / 60_000} minutes`, short: `${SHORT_MS / 1_000} s` },
  async run(scene) {
    const { cluster, long, pass } = scene;
    const nodes = await threeNodes(scene);
    await mixedLoad(scene);
    await pass(WARM_MS);
    const programs: readonly Program[] = [...nodes, ...cluster.clients];
    const before = await Promise.all(programs.map((program) => program.usage()));
    await pass(long ? (isHour ? HOUR_MS : LONG_MS) : SHORT_MS);
    const after = await Promise.all(programs.map((program) => program.usage()));
    await cluster.stopLoad();
    return (account) => [
      none(
        'no call fails',
        failures(account, () => true),
      ),
      ...programs.flatMap(({ name }, at) => flat(name, before[at], after[at])),
    ];
  },
};

function flat(name: string, before: Usage | undefined, after: Usage | undefined): Check[] {
  if (before === undefined || after === undefined) return [];
  const room = name.startsWith('python') ? { ...ROOM, held: PYTHON_HELD } : ROOM;
  const keys = ['heapBytes', 'handles', 'held'] as const;
  return keys.map((key) => ({
    promise: `${key} of ${name} is flat`,
    met: after[key] - before[key] <= room[key],
    seen: `${before[key]}, then ${after[key]}`,
  }));
}
