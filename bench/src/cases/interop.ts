/** Nest and Python, beside grpcio's asyncio server and client. */
import type { Json } from '../program/protocol.js';
import type { Client } from '../peers/peer.js';
import { checkEcho, driveCalls } from './calls.js';
import type { Case, DriveArgs, Driven } from './case.js';
import { measureArrivals, measureDrive } from './measure.js';
import { events, response } from './streams.js';

/** What is done, in the words for a Python client, which has no code of the case. */
type Work =
  | { readonly work: 'calls'; readonly bytes: number; readonly inFlight: number }
  | { readonly work: 'stream'; readonly items: number }
  | { readonly work: 'events'; readonly bytes: number };

/** How a Node client does it, and how it is measured. */
type Way = Pick<Case, 'ability' | 'unit' | 'check' | 'drive'> & { readonly measure: typeof measureDrive };

interface Direction {
  readonly name: string;
  readonly title: string;
  readonly mesh: string;
  readonly grpc: string;
}

const DIRECTIONS: readonly Direction[] = [
  { name: 'nest-to-python', title: 'Nest to Python', mesh: 'mesh-to-python', grpc: 'grpc-to-python' },
  { name: 'python-to-nest', title: 'Python to Nest', mesh: 'python-to-mesh', grpc: 'python-to-grpc' },
];

const BYTES = 100;
const ITEMS = 5_000;

/** Calls in both directions first, then what else there is. */
export const interopCases: readonly Case[] = [
  ...DIRECTIONS.map((direction) => callsOf(direction, '', 128)),
  ...DIRECTIONS.map((direction) => callsOf(direction, '-1', 1)),
  ...DIRECTIONS.map((direction) =>
    interop(
      direction,
      '-stream',
      'response stream, items of 64 B',
      { work: 'stream', items: ITEMS },
      {
        ...wayOf(response),
        measure: measureDrive,
      },
    ),
  ),
  ...DIRECTIONS.map(({ grpc: _none, ...direction }) =>
    interop(
      direction,
      '-events',
      `events, ${BYTES} B`,
      { work: 'events', bytes: BYTES },
      {
        ...wayOf(events),
        measure: measureArrivals,
      },
    ),
  ),
];

function callsOf(direction: Direction, suffix: string, inFlight: number): Case {
  const work: Work = { work: 'calls', bytes: BYTES, inFlight };
  return interop(direction, suffix, `${BYTES} B, ${inFlight} in flight`, work, {
    ability: 'call',
    unit: 'calls/s',
    check: (client: Client) => checkEcho(client, BYTES, inFlight),
    drive: (client: Client, args: DriveArgs): Promise<Driven> => driveCalls(client, BYTES, inFlight, args),
    measure: measureDrive,
  });
}

function interop(
  { name, title, mesh, grpc = mesh }: Omit<Direction, 'grpc'> & Partial<Direction>,
  suffix: string,
  what: string,
  work: Work & Json,
  { measure, ...way }: Way,
): Case {
  const self: Case = {
    name: `${name}${suffix}`,
    title: `${title}, ${what}`,
    group: 'interop',
    peers: grpc === mesh ? [mesh] : [mesh, grpc],
    baseline: grpc,
    ...way,
    measure: (pair, limits) => measure(self, pair, limits, work),
  };
  return self;
}

function wayOf({ ability, unit, check, drive }: Case): Omit<Way, 'measure'> {
  return { unit, ...(ability && { ability }), ...(check && { check }), ...(drive && { drive }) };
}
