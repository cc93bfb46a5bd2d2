/** Those who are told of a value whenever it is another one, each at least once. */
import type { RegistryLogger, Watch } from './registry.js';

interface Member<T> {
  readonly listener: (value: T) => void;
  /** Resolves `Watch.ready`. */
  readonly markReady: () => void;
  told: T | undefined;
}

/** The listeners to one value, which is another object whenever it has changed. */
export class Audience<T extends object> {
  private readonly members = new Set<Member<T>>();
  private value: T | undefined;

  constructor(
    /** What is listened to, for a warning. */
    private readonly what: string,
    private readonly logger: RegistryLogger,
  ) {}

  /** Adds a listener; `refresh` looks again, `idle` is called when the last one has left. */
  add(listener: (value: T) => void, refresh: () => void, idle: () => void): Watch {
    let markReady: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => (markReady = resolve));
    const member: Member<T> = { listener, markReady, told: undefined };
    this.members.add(member);
    // Later, so that the caller holds its Watch before the listener is called.
    queueMicrotask(() => this.tellMember(member));
    return {
      ready,
      refresh,
      close: () => {
        if (!this.members.delete(member)) return;
        markReady();
        if (this.members.size === 0) idle();
      },
    };
  }

  /** Tells everybody who has not heard of this very value. */
  tell(value: T): void {
    this.value = value;
    for (const member of this.members) this.tellMember(member);
  }

  /** Nobody is told anything any more. */
  dismiss(): void {
    for (const member of this.members) member.markReady();
    this.members.clear();
  }

  private tellMember(member: Member<T>): void {
    const { value } = this;
    if (value === undefined || member.told === value || !this.members.has(member)) return;
    member.told = value;
    try {
      member.listener(value);
    } catch (error) {
      this.logger.warn(`a listener to ${this.what} threw: ${String(error)}`);
    }
    member.markReady();
  }
}
