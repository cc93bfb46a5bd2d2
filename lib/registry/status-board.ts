/** Keeps the status of a registry, and says that it went away, now and then for how long it is stale, and that it is back. */
import { MeshError } from '../protocol/mesh-error.js';
import type { RegistryClock } from './registry-clock.js';
import type { RegistryLogger, RegistryStatus } from './registry.js';

type StatusListener = (status: RegistryStatus) => void;

/** After so long the log says again that the registry is stale; each time it takes twice as long, up to the most. */
const FIRST_REMINDER_MS = 10_000;
const LONGEST_REMINDER_MS = 600_000;

/** Faults by what they befell; the registry is stale as long as there is one. */
export class StatusBoard {
  private readonly faults = new Map<string, string>();
  private readonly listeners = new Set<StatusListener>();
  private current: RegistryStatus = { state: 'idle' };
  private lastGoodAt: number | undefined;
  private remindAt = 0;
  private reminderMs = 0;

  constructor(
    private readonly url: string,
    private readonly logger: RegistryLogger,
    private readonly clock: RegistryClock,
  ) {}

  get status(): RegistryStatus {
    return this.current;
  }

  onStatus(listener: StatusListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** What `subject` asked of the store did not work. */
  fault(subject: string, reason: string): void {
    this.faults.set(subject, reason);
    if (this.current.state === 'stale') return this.remind(this.current.since, reason);
    const now = this.clock.now();
    this.remindLater(now, FIRST_REMINDER_MS);
    this.set({ state: 'stale', since: this.lastGoodAt ?? now, reason });
    this.logger.warn(
      `the registry ${this.url} is away (${reason}); known nodes go on being used until it is back`,
    );
  }

  /** What `subject` asked of the store worked. */
  good(subject: string): void {
    this.lastGoodAt = this.clock.now();
    this.drop(subject);
    if (this.current.state === 'idle') this.set({ state: 'connected' });
  }

  /** Nobody asks for `subject` any more. */
  drop(subject: string): void {
    if (!this.faults.delete(subject) || this.faults.size > 0) return;
    const before = this.current;
    this.set({ state: 'connected' });
    if (before.state === 'stale')
      this.logger.log(
        `the registry ${this.url} is back; it was stale for ${this.secondsSince(before.since)} s`,
      );
  }

  /** Back to `idle`, without a word: the registry was closed. */
  reset(): void {
    this.faults.clear();
    if (this.current.state !== 'idle') this.set({ state: 'idle' });
  }

  /** Needs no timer: what is wrong is met again at each heartbeat and each dial. */
  private remind(since: number, reason: string): void {
    const now = this.clock.now();
    if (now < this.remindAt) return;
    this.remindLater(now, Math.min(2 * this.reminderMs, LONGEST_REMINDER_MS));
    this.logger.warn(
      `the registry ${this.url} is stale for ${this.secondsSince(since)} s (${reason}); known nodes go on being used`,
    );
  }

  private remindLater(now: number, afterMs: number): void {
    this.reminderMs = afterMs;
    this.remindAt = now + afterMs;
  }

  private secondsSince(instant: number): number {
    return Math.max(0, Math.round((this.clock.now() - instant) / 1_000));
  }

  private set(status: RegistryStatus): void {
    this.current = status;
    for (const listener of this.listeners) {
      try {
        listener(status);
      } catch (error) {
        this.logger.warn(`a listener to the status of the registry threw: ${String(error)}`);
      }
    }
  }
}

/** The bare reason where a store gives one: the status and its log line name the registry themselves. */
export function reasonOf(error: unknown): string {
  if (!MeshError.is(error)) return error instanceof Error ? error.message : String(error);
  const reason = error.details?.['reason'];
  return typeof reason === 'string' ? reason : error.rawMessage;
}
