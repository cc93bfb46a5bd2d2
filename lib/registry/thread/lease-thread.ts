/** The main thread's hold on the lease thread: starts it, asks it, shows it signs of life, and starts it anew if it dies. */
import { Worker } from 'node:worker_threads';
import { MeshError } from '../../protocol/mesh-error.js';
import type { NodeRecord } from '../node-record.js';
import { hideCredentials, type RedisSettings } from '../redis/redis-target.js';
import type { RegistryClock } from '../registry-clock.js';
import type { Announcement, RegistryLogger, RegistryStatus, RegistryTimings } from '../registry.js';
import { structuredCloneOfJson } from '../standing-announcement.js';
import { withinTime } from '../time-limit.js';
import {
  leaseKey,
  type LeaseReport,
  type LeaseRequest,
  type LeaseThreadData,
  type PostedRequest,
} from './thread-messages.js';

/** What a lease thread is made with. */
export interface LeaseThreadOptions {
  readonly url: string;
  readonly redis: RedisSettings | undefined;
  readonly timings: RegistryTimings;
  /** The record is let go after the main thread was blocked for so long, in milliseconds. */
  readonly maxBlockedMs: number;
  readonly logger: RegistryLogger;
  readonly clock: RegistryClock;
  /** The status of its registry is another one. */
  readonly onStatus: (status: RegistryStatus) => void;
}

interface Asked {
  readonly resolve: () => void;
  readonly reject: (error: MeshError) => void;
}

/** At most one worker thread, from the first announcement on. */
export class LeaseThread {
  private worker: Worker | undefined;
  private readonly beats = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  private beating: NodeJS.Timeout | undefined;
  private cancelRestart: (() => void) | undefined;
  private readonly asked = new Map<number, Asked>();
  private asks = 0;
  /** What is to be announced, by key. */
  private readonly standing = new Map<string, NodeRecord>();
  private closing = false;

  constructor(private readonly options: LeaseThreadOptions) {}

  /** Announces a record, to be kept alive by the thread. Rejects with a `MeshError`. */
  async announce(announced: NodeRecord): Promise<Announcement> {
    if (this.closing) {
      const { url } = this.options;
      throw new MeshError(
        'FAILED_PRECONDITION',
        `the registry ${hideCredentials(url)} was closed; open a new one`,
        {
          delivery: 'not-sent',
        },
      );
    }
    const record = { ...announced, metadata: structuredCloneOfJson(announced.metadata) };
    const key = leaseKey(record);
    await this.ask({ kind: 'announce', record });
    this.standing.set(key, record);
    let withdrawal: Promise<void> | undefined;
    return {
      update: async (given) => {
        const metadata = structuredCloneOfJson(given);
        await this.ask({ kind: 'update', key, metadata });
        if (this.standing.has(key)) this.standing.set(key, { ...record, metadata });
      },
      withdraw: () => (withdrawal ??= this.withdraw(key)),
    };
  }

  /** Withdraws what is announced and ends the thread. Never rejects. */
  async close(): Promise<void> {
    this.closing = true;
    this.cancelRestart?.();
    const { worker } = this;
    if (worker === undefined) return;
    const { clock, timings } = this.options;
    // Longer than the thread itself waits for its registry.
    const limitMs = 2 * timings.registryTimeoutMs;
    await withinTime(clock, limitMs, this.ask({ kind: 'close' })).catch(() => undefined);
    await worker.terminate();
  }

  private async withdraw(key: string): Promise<void> {
    this.standing.delete(key);
    // A thread that has died has warned of it, and the record ends with its lease.
    if (this.worker !== undefined) await this.ask({ kind: 'withdraw', key }).catch(() => undefined);
  }

  private ask(request: LeaseRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      this.worker ??= this.start();
      const ask = (this.asks += 1);
      this.asked.set(ask, { resolve, reject });
      // While an answer is waited for, the thread holds the process; otherwise its connection does not keep it alive.
      this.worker.ref();
      // A thread has no origin, unlike a window.
      // oxlint-disable-next-line unicorn/require-post-message-target-origin
      this.worker.postMessage({ ask, request } satisfies PostedRequest);
    });
  }

  private start(): Worker {
    const { url, redis, timings, maxBlockedMs } = this.options;
    const workerData: LeaseThreadData = { url, redis, timings, maxBlockedMs, beats: this.beats };
    let worker: Worker;
    try {
      worker = new Worker(new URL('./lease-worker.js', import.meta.url), {
        workerData,
        name: 'nestjs-mesh lease',
        // Loaders and debuggers are for the program, not for this thread.
        execArgv: [],
      });
    } catch (error) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `the lease thread cannot be started: ${String(error)}; the \`redis\` option must hold no functions, or set \`leaseThread\` to false`,
        { delivery: 'not-sent' },
      );
    }
    let fault = 'it ended';
    worker.on('message', (report: LeaseReport) => this.onReport(report));
    worker.on('error', (error) => (fault = String(error)));
    worker.on('exit', () => this.onExit(fault));
    worker.unref();
    const counter = new Int32Array(this.beats);
    this.beating = setInterval(() => Atomics.add(counter, 0, 1), timings.heartbeatIntervalMs).unref();
    return worker;
  }

  private onReport(report: LeaseReport): void {
    const { logger, onStatus } = this.options;
    switch (report.kind) {
      case 'done': {
        const asked = this.asked.get(report.ask);
        this.asked.delete(report.ask);
        if (this.asked.size === 0) this.worker?.unref();
        if (report.error === undefined) asked?.resolve();
        else
          asked?.reject(MeshError.fromWire(report.error) ?? new MeshError('INTERNAL', report.error.message));
        return;
      }
      case 'status':
        return onStatus(report.status);
      case 'log':
        return logger.log(`lease thread: ${report.message}`);
      case 'warn':
        return logger.warn(`lease thread: ${report.message}`);
    }
  }

  private onExit(fault: string): void {
    this.worker = undefined;
    clearInterval(this.beating);
    this.options.onStatus({ state: 'idle' });
    const error = new MeshError(
      'UNAVAILABLE',
      `the lease thread has failed: ${fault}; a bundler must leave nestjs-mesh as it is, or set \`leaseThread\` to false`,
      { delivery: 'not-sent' },
    );
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
    if (this.closing || this.standing.size === 0) return;
    const { logger, clock, timings } = this.options;
    logger.warn(`${error.rawMessage}; it is started again`);
    this.cancelRestart = clock.setTimer(timings.heartbeatIntervalMs, () => this.resume());
  }

  private resume(): void {
    for (const record of this.standing.values()) this.ask({ kind: 'resume', record }).catch(() => undefined);
  }
}
