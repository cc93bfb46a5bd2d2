/** `npm run bench -- --profile`: where the time of one call goes, on both sides, many in flight and one. */
import { parseArgs } from 'node:util';
import type { Driven } from '../cases/case.js';
import { Lab } from '../lab.js';
import type { Pair } from '../pair.js';
import { peers } from '../peers/index.js';
import type { Usage } from '../program/protocol.js';
import { machine } from '../report/machine.js';
import { writeJson, writeTables } from '../report/write.js';
import { LAYERS, type Layer, type LayerTimes } from './layers.js';
import { profileTable } from './page.js';
import { PROFILE_FILE, type Profile, type ProfileCase, type Side } from './results.js';

export const PROFILE_USAGE = `npm run bench -- --profile [OPTIONS]
  --seconds N     how long is recorded, for each number in flight (default: 4)
  --write         keep the profile in bench/profile.json and put it into docs/benchmarks.md`;

const CASES = [
  ['calls-100b-128', 128],
  ['calls-100b-1', 1],
] as const;
/** Short, so that seconds are enough; every sample costs some microseconds itself. */
const INTERVAL_US = 500;
const WARM_UP_MS = 2_500;

/** Records and prints; throws for arguments that make no sense. */
export async function runProfile(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      profile: { type: 'boolean' },
      seconds: { type: 'string', default: '4' },
      write: { type: 'boolean', default: false },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds must be a number above 0, not "${values.seconds}"`);
  const mesh = peers.find(({ name }) => name === 'mesh');
  if (mesh === undefined) throw new Error('there is no peer "mesh"');
  const lab = new Lab();
  const cases: ProfileCase[] = [];
  try {
    const pair = await lab.pair(mesh);
    for (const [name, inFlight] of CASES) cases.push(await record(pair, name, inFlight, seconds * 1_000));
  } finally {
    await lab.close();
  }
  const profile: Profile = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    machine: machine(),
    seconds,
    intervalUs: INTERVAL_US,
    cases,
  };
  console.log(profileTable(profile));
  if (!values.write) return;
  writeJson(PROFILE_FILE, profile);
  writeTables();
}

/** The profiler is on only between the warm-up and the end, so that neither start-up nor compiling counts. */
async function record(
  { client, server }: Pair,
  name: string,
  inFlight: number,
  windowMs: number,
): Promise<ProfileCase> {
  const sides = [client, server];
  await client.ask('check', { case: name });
  await client.ask('drive', { case: name, windowMs: WARM_UP_MS });
  await Promise.all(sides.map((side) => side.ask('record', { intervalUs: INTERVAL_US })));
  const before = await Promise.all(sides.map((side) => side.ask<Usage>('usage')));
  const driven = await client.ask<Driven>('drive', { case: name, windowMs });
  const after = await Promise.all(sides.map((side) => side.ask<Usage>('usage')));
  const times = await Promise.all(sides.map((side) => side.ask<LayerTimes>('recorded')));
  const sideOf = (at: 0 | 1): Side => ({
    cpuUs: ((after[at]?.cpuUs ?? 0) - (before[at]?.cpuUs ?? 0)) / driven.count,
    layers: perCall(times[at], driven.count),
  });
  return {
    inFlight,
    calls: driven.count,
    callsPerSecond: (driven.count / driven.elapsedMs) * 1_000,
    client: sideOf(0),
    server: sideOf(1),
  };
}

function perCall(times: LayerTimes | undefined, calls: number): LayerTimes {
  const share = (layer: Layer): number => (times?.[layer] ?? 0) / calls;
  return Object.fromEntries(LAYERS.map((layer) => [layer, share(layer)])) as LayerTimes;
}
