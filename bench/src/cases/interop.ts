/** Calls between Nest and Python, beside grpcio's asyncio server and client. */
import type { Case, DriveArgs, Driven } from './case.js';
import { checkEcho, driveCalls } from './calls.js';
import { measureDrive } from './measure.js';
import type { Client } from '../peers/peer.js';

/** What a Python client is told with `drive`, since it has no code of the case: calls of `bytes`, `inFlight` at once. */
const WORK = { bytes: 100, inFlight: 128 };

function interop(name: string, title: string, peers: readonly string[], baseline: string): Case {
  const self: Case = {
    name,
    title,
    group: 'interop',
    unit: 'calls/s',
    peers,
    baseline,
    ability: 'call',
    check: (client) => checkEcho(client, WORK.bytes, WORK.inFlight),
    drive: driveWork,
    measure: (pair, limits) => measureDrive(self, pair, limits, WORK),
  };
  return self;
}

export const interopCases: readonly Case[] = [
  interop(
    'nest-to-python',
    'Nest to Python, 100 B, 128 in flight',
    ['mesh-to-python', 'grpc-to-python'],
    'grpc-to-python',
  ),
  interop(
    'python-to-nest',
    'Python to Nest, 100 B, 128 in flight',
    ['python-to-mesh', 'python-to-grpc'],
    'python-to-grpc',
  ),
];

function driveWork(client: Client, args: DriveArgs): Promise<Driven> {
  return driveCalls(client, WORK.bytes, WORK.inFlight, args);
}
