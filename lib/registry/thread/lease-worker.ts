/** The program of the lease thread: it has a connection to the registry of its own. Started by `LeaseThread`, never imported. */
import { parentPort, workerData } from 'node:worker_threads';
import { MeshError } from '../../protocol/mesh-error.js';
import { SYSTEM_CLOCK } from '../registry-clock.js';
import { openRegistry } from '../registry-url.js';
import { LeaseHolder } from './lease-holder.js';
import type { LeaseReport, LeaseThreadData, PostedRequest } from './thread-messages.js';

const { url, redis, timings, maxBlockedMs, beats } = workerData as LeaseThreadData;
const counter = new Int32Array(beats);
const logger = {
  log: (message: string) => report({ kind: 'log', message }),
  warn: (message: string) => report({ kind: 'warn', message }),
};
const registry = openRegistry(url, { redis, timings, logger });
registry.onStatus((status) => report({ kind: 'status', status }));
const holder = new LeaseHolder({
  registry,
  clock: SYSTEM_CLOCK,
  logger,
  checkEveryMs: timings.heartbeatIntervalMs,
  maxBlockedMs,
  beats: () => Atomics.load(counter, 0),
});

parentPort?.on('message', ({ ask, request }: PostedRequest) => {
  holder.do(request).then(
    () => report({ kind: 'done', ask }),
    (error: unknown) => report({ kind: 'done', ask, error: MeshError.from(error, 'INTERNAL').toWire() }),
  );
});

function report(message: LeaseReport): void {
  // A message port has no origin, unlike a window.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(message);
}
