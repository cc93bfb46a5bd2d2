/** Holds the leases of a process on behalf of its main thread, for as long as that one is not blocked for too long. */
import { MeshError } from '../../protocol/mesh-error.js';
import type { NodeRecord } from '../node-record.js';
import type { RegistryClock } from '../registry-clock.js';
import type { Announcement, RegistryLogger, ServiceRegistry } from '../registry.js';
import { leaseKey, type LeaseRequest } from './thread-messages.js';

/** What a holder works with. */
export interface LeaseHolderDeps {
  readonly registry: ServiceRegistry;
  readonly clock: RegistryClock;
  readonly logger: RegistryLogger;
  /** How often it looks whether the main thread lives, in milliseconds. */
  readonly checkEveryMs: number;
  /** The main thread is taken for hung after so many milliseconds without a beat. */
  readonly maxBlockedMs: number;
  /** Another number than before when the main thread has lived in between. */
  beats(): number;
}

interface Lease {
  record: NodeRecord;
  /** `undefined`: it was let go, or could not be taken yet. */
  announcement: Announcement | undefined;
}

/** The leases, and the look at the main thread. One thing after the other, so that none overtakes another. */
export class LeaseHolder {
  private readonly leases = new Map<string, Lease>();
  private work: Promise<unknown> = Promise.resolve();
  private cancelCheck: (() => void) | undefined;
  private lastBeats: number;
  private checkedAt: number;
  private silentMs = 0;
  private hung = false;
  private closed = false;

  constructor(private readonly deps: LeaseHolderDeps) {
    this.lastBeats = deps.beats();
    this.checkedAt = deps.clock.now();
    this.checkLater();
  }

  /** Does what is asked, when everything before is done. Rejects with a `MeshError`. */
  do(request: LeaseRequest): Promise<void> {
    return this.inTurn(() => this.serve(request));
  }

  private async serve(request: LeaseRequest): Promise<void> {
    switch (request.kind) {
      case 'announce': {
        const { record } = request;
        const announcement = await this.deps.registry.announce(record);
        this.leases.set(leaseKey(record), { record, announcement });
        return;
      }
      case 'resume':
        this.leases.set(leaseKey(request.record), { record: request.record, announcement: undefined });
        return this.takeAll();
      case 'update': {
        const lease = this.leases.get(request.key);
        if (lease === undefined) throw withdrawnError();
        await lease.announcement?.update(request.metadata);
        lease.record = { ...lease.record, metadata: request.metadata };
        return;
      }
      case 'withdraw': {
        const lease = this.leases.get(request.key);
        this.leases.delete(request.key);
        await lease?.announcement?.withdraw();
        return;
      }
      case 'close':
        this.closed = true;
        this.cancelCheck?.();
        await this.deps.registry.close();
    }
  }

  private checkLater(): void {
    const { clock, checkEveryMs } = this.deps;
    this.cancelCheck = clock.setTimer(checkEveryMs, () => {
      this.inTurn(() => this.check()).then(
        () => {
          if (!this.closed) this.checkLater();
        },
        () => undefined,
      );
    });
  }

  private async check(): Promise<void> {
    const { clock, checkEveryMs, maxBlockedMs, logger } = this.deps;
    const now = clock.now();
    const beats = this.deps.beats();
    if (beats === this.lastBeats) {
      // A process that was stopped as a whole, or a clock that was set: that is no silence of the main thread.
      this.silentMs += Math.min(Math.max(0, now - this.checkedAt), 2 * checkEveryMs);
    } else this.silentMs = 0;
    this.lastBeats = beats;
    this.checkedAt = now;
    const isHung = this.silentMs > maxBlockedMs;
    if (isHung && !this.hung) {
      logger.warn(
        `the main thread was blocked for more than ${maxBlockedMs} ms (maxBlockedMs): its record was taken out of the registry ` +
          'until it goes on',
      );
      await this.letGo();
    }
    this.hung = isHung;
    if (!isHung) await this.takeAll();
  }

  private async letGo(): Promise<void> {
    for (const lease of this.leases.values()) {
      const { announcement } = lease;
      lease.announcement = undefined;
      await announcement?.withdraw();
    }
  }

  /** What cannot be taken now is tried again at the next check; the registry itself says that it is away. */
  private async takeAll(): Promise<void> {
    for (const lease of this.leases.values()) {
      if (lease.announcement !== undefined) continue;
      try {
        lease.announcement = await this.deps.registry.announce(lease.record);
      } catch (error) {
        this.deps.logger.debug?.(`a record cannot be announced yet: ${String(error)}`);
      }
    }
  }

  private inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.work.then(task);
    this.work = done.catch(() => undefined);
    return done;
  }
}

function withdrawnError(): MeshError {
  return new MeshError('FAILED_PRECONDITION', 'this announcement was withdrawn; announce the node again', {
    delivery: 'not-sent',
  });
}
