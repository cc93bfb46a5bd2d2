/** `npm run bench -- --micro`: what single steps of a call cost, by mitata. */
import { parseArgs } from 'node:util';
import { do_not_optimize as keep, measure } from 'mitata';
import { machine } from '../report/machine.js';
import { writeJson, writeTables } from '../report/write.js';
import { framePieces } from './frames.js';
import { heapBytesOf } from './heap.js';
import { packetPieces } from './packets.js';
import { microTable } from './page.js';
import { patternPieces } from './patterns.js';
import { pickingPieces } from './picking.js';
import type { Piece } from './piece.js';
import { MICRO_FILE, type MicroResult, type MicroResults } from './results.js';

const WARM_UP_RUNS = 2_000;
const ALL: readonly Piece[] = [...framePieces, ...packetPieces, ...pickingPieces, ...patternPieces];

/** Measures and prints; throws for arguments that make no sense, and when a piece does not do what it says. */
export async function runMicro(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      micro: { type: 'boolean' },
      filter: { type: 'string', default: '' },
      ms: { type: 'string', default: '400' },
      write: { type: 'boolean', default: false },
    },
  });
  const ms = Number(values.ms);
  if (!(ms > 0)) throw new Error(`--ms must be a number above 0, not "${values.ms}"`);
  const chosen = ALL.filter(({ title }) => title.includes(values.filter));
  if (chosen.length === 0) throw new Error(`--filter "${values.filter}" is in the name of no piece`);
  if (values.write && chosen.length < ALL.length)
    throw new Error('--write keeps whole measurements: it cannot go together with --filter');
  for (const piece of chosen) piece.check();
  // The first to be measured must not be the one for which the compiler learns what all of them do.
  for (const piece of chosen) warm(piece);
  const pieces: MicroResult[] = [];
  for (const piece of chosen) pieces.push(await resultOf(piece, ms));
  const results: MicroResults = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    machine: machine(),
    pieces,
  };
  console.log(microTable(results));
  if (!values.write) return;
  writeJson(MICRO_FILE, results);
  writeTables();
}

async function resultOf({ group, title, run, times = 1 }: Piece, ms: number): Promise<MicroResult> {
  const { p25, p50, p99 } = await measure(() => keep(run()), { min_cpu_time: ms * 1e6 });
  const heapBytes = heapBytesOf(() => keep(run())) / times;
  return { group, title, p25: p25 / times, p50: p50 / times, p99: p99 / times, heapBytes };
}

function warm({ run }: Piece): void {
  for (let n = 0; n < WARM_UP_RUNS; n += 1) keep(run());
}
