/** The time by Redis's own clock, so that the scores of the index agree though the clocks of the nodes do not. */
import type { RegistryClock } from '../registry-clock.js';
import type { RedisClient } from './redis-target.js';

/** How often the difference is measured again. */
const MEASURE_EVERY_MS = 60_000;

/** Knows how far the local clock is from that of Redis; as good as half a round trip. */
export class RedisClock {
  private offsetMs = 0;
  private measuredAt: number | undefined;

  constructor(private readonly clock: RegistryClock) {}

  /** Epoch milliseconds by the clock of Redis. */
  now(): number {
    return Math.round(this.clock.now() + this.offsetMs);
  }

  /** Measures now and then; keeps the last difference (at first: none) where TIME is not permitted. */
  async measure(run: <T>(command: (redis: RedisClient) => Promise<T>) => Promise<T>): Promise<void> {
    const startedAt = this.clock.now();
    if (this.measuredAt !== undefined && Math.abs(startedAt - this.measuredAt) < MEASURE_EVERY_MS) return;
    this.measuredAt = startedAt;
    try {
      const [seconds, microseconds] = await run((redis) => redis.time());
      const middle = (startedAt + this.clock.now()) / 2;
      const offsetMs = Number(seconds) * 1_000 + Number(microseconds) / 1_000 - middle;
      if (Number.isFinite(offsetMs)) this.offsetMs = offsetMs;
    } catch {
      // The local clock will do: readers of the index tolerate a skew of a minute.
    }
  }

  /** Measures again at the next {@link measure}: it may be another server now. */
  forget(): void {
    this.measuredAt = undefined;
  }
}
