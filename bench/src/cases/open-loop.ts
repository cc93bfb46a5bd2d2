/**
 * Calls at a fixed rate, whatever the answers do: each has its time on a schedule, and its latency counts from there. A generator
 * that waits for answers before it sends more leaves out just the calls that would have waited ("coordinated omission").
 */
import { messageOf, type Client } from '../peers/peer.js';
import { monotonicMs } from '../program/protocol.js';
import { callOf } from './calls.js';
import type { Driven } from './case.js';
import { Latencies } from './latencies.js';

/** What a schedule looks like. */
export interface Schedule {
  readonly callsPerSecond: number;
  readonly windowMs: number;
  readonly bytes: number;
  /**
   * `exact`: looks at the schedule again after each turn, and at the latest after a nap: for latencies. `ticks`: what is due leaves
   * with a timer once a millisecond, and the process is free in between: for processor time.
   */
  readonly pace: 'exact' | 'ticks';
}

const TICK_MS = 1;
/** Short against the latencies that count, and long enough that brokers beside this process get their turn. */
const NAP_MS = 0.05;
const bed = new Int32Array(new SharedArrayBuffer(4));

/** Resolves when every call is answered; rejects with the first that fails. */
export async function driveOpenLoop(client: Client, schedule: Schedule): Promise<Driven> {
  const { callsPerSecond, windowMs, bytes, pace } = schedule;
  const call = callOf(client);
  const message = messageOf(bytes);
  const latencies = new Latencies();
  const total = Math.max(1, Math.floor((callsPerSecond * windowMs) / 1_000));
  const intervalMs = 1_000 / callsPerSecond;
  const startedAtMs = monotonicMs();
  const start = performance.now();
  await new Promise<void>((resolve, reject) => {
    let sent = 0;
    let open = 0;
    const answered = (dueAt: number): void => {
      latencies.add(performance.now() - dueAt);
      open -= 1;
      if (open === 0 && sent === total) resolve();
    };
    const sendDue = (): void => {
      const now = performance.now();
      for (let dueAt = start + sent * intervalMs; dueAt <= now && sent < total;) {
        const due = dueAt;
        sent += 1;
        open += 1;
        call(message).then(() => answered(due), reject);
        dueAt = start + sent * intervalMs;
      }
      if (sent === total) return;
      if (pace === 'ticks') setTimeout(sendDue, TICK_MS);
      else setImmediate(napAndSend);
    };
    const napAndSend = (): void => {
      if (performance.now() < start + sent * intervalMs) Atomics.wait(bed, 0, 0, NAP_MS);
      sendDue();
    };
    sendDue();
  });
  return {
    count: total,
    elapsedMs: performance.now() - start,
    startedAtMs,
    latencyUs: latencies.summary(),
  };
}
