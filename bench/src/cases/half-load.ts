/** Latency at half of what is possible: of each peer's own maximum, and of that of the baseline. */
import { BASELINE } from '../peers/index.js';
import type { Pair } from '../pair.js';
import type { Json } from '../program/protocol.js';
import { checkEcho, driveCalls } from './calls.js';
import type { Case, DriveArgs, Limits, Measurement } from './case.js';
import { measureDrive } from './measure.js';
import { spreadOf } from '../statistics.js';
import { driveOpenLoop, type Schedule } from './open-loop.js';

const BYTES = 100;
/** The maximum is what calls with so many in flight give. */
const IN_FLIGHT = 128;
const LOAD = 0.5;
/** The heap of a process that has slept is small, and grows again in collections of garbage that a steady service does not see. */
const LEAD = 1;
/** How often the maximum is looked for that sets the rate of all. */
const SEARCHES = 3;
/** After the search for a maximum: for its garbage and its queues to go, in milliseconds. */
const CALM_MS = 500;

/** The maxima that this run has seen, in calls per second, by peer. */
const maxima = new Map<string, number[]>();

const common = {
  better: 'less',
  ability: 'call',
  check: (client) => checkEcho(client, BYTES, 16),
  drive: (client, { windowMs, args }) =>
    isRate(args)
      ? driveOpenLoop(client, { ...args, windowMs, bytes: BYTES })
      : driveCalls(client, BYTES, IN_FLIGHT, { windowMs }),
} satisfies Partial<Case>;

const ownHalf: Case = {
  ...common,
  name: 'latency-own-half',
  title: '100 B at half of its own maximum, p99',
  group: 'latency',
  unit: 'µs',
  async measure(pair, limits) {
    const most = await findMaximum(ownHalf, pair, limits);
    return latencyAt(ownHalf, pair, limits, most * LOAD);
  },
};

const sameRate: Case = {
  ...common,
  name: 'latency-same-rate',
  title: '100 B at half of the maximum of Nest TCP, p99',
  group: 'latency',
  unit: 'µs',
  async measure(pair, limits) {
    return latencyAt(sameRate, pair, limits, await commonRate(sameRate, pair, limits));
  },
};

const cpu: Case = {
  ...common,
  name: 'cpu-same-rate',
  title: '100 B at half of the maximum of Nest TCP, processor time of both sides for each call',
  group: 'latency',
  unit: 'µs',
  async measure(pair, limits) {
    const callsPerSecond = await commonRate(cpu, pair, limits);
    const { clientCpuUs = 0, serverCpuUs = 0 } = await scheduled(cpu, pair, limits, {
      callsPerSecond,
      pace: 'ticks',
    });
    return {
      value: clientCpuUs + serverCpuUs,
      clientCpuUs,
      serverCpuUs,
      more: { 'calls/s': Math.round(callsPerSecond) },
    };
  },
};

/** Open-loop cases. The first finds the maxima for the others, but none needs it. */
export const halfLoadCases: readonly Case[] = [ownHalf, sameRate, cpu];

async function latencyAt(
  each: Case,
  pair: Pair,
  limits: Limits,
  callsPerSecond: number,
): Promise<Measurement> {
  const { latencyUs, serverCpuUs } = await scheduled(each, pair, limits, { callsPerSecond, pace: 'exact' });
  if (latencyUs === undefined) throw new Error(`${pair.client.name} has measured no latencies`);
  // The client hardly sleeps while it measures: its processor time says nothing.
  return {
    value: latencyUs.p99,
    latencyUs,
    ...(serverCpuUs === undefined ? {} : { serverCpuUs }),
    more: { 'calls/s': Math.round(callsPerSecond) },
  };
}

type Rate = Pick<Schedule, 'callsPerSecond' | 'pace'>;

function scheduled(each: Case, pair: Pair, limits: Limits, schedule: Rate): Promise<Measurement> {
  return measureDrive(each, pair, limits, { ...schedule }, LEAD);
}

async function findMaximum(each: Case, pair: Pair, { windowMs }: Limits): Promise<number> {
  const { value } = await measureDrive(each, pair, { windowMs: windowMs / 2 });
  const { name } = pair.peer;
  maxima.set(name, [...(maxima.get(name) ?? []), value]);
  await new Promise((resolve) => setTimeout(resolve, CALM_MS));
  return value;
}

/** One rate for all peers: half of the baseline's maximum; where the baseline is not there, of the first peer that is. */
async function commonRate(each: Case, pair: Pair, limits: Limits): Promise<number> {
  const isNeeded = pair.peer.name === BASELINE ? !maxima.has(BASELINE) : maxima.size === 0;
  // Several, since all peers have to live with what is found.
  if (isNeeded) for (let times = 0; times < SEARCHES; times += 1) await findMaximum(each, pair, limits);
  const [first = []] = maxima.values();
  return spreadOf(maxima.get(BASELINE) ?? first).median * LOAD;
}

function isRate(args: DriveArgs['args']): args is Rate & { readonly [name: string]: Json } {
  return typeof args === 'object' && args !== null && 'callsPerSecond' in args;
}
