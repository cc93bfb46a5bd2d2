/** The two marks that every look reads along: one answer serves all the looks of one instant. */
import { EPOCH_KEY, SCAN_KEY } from './redis-keys.js';
import { readMany, type RedisSession } from './redis-session.js';

/** What {@link RedisMarks.read} found. */
export interface Marks {
  /** Another one means that Redis lost its data, so that nodes which are missing need not have left. */
  readonly epoch: string;
  /** When the keyspace was walked last, in epoch milliseconds of Redis; `undefined` when nobody did. */
  readonly scannedAt: number | undefined;
}

/** Reads the marks for all look-outs of a registry. */
export class RedisMarks {
  private reading: Promise<Marks> | undefined;

  constructor(private readonly session: RedisSession) {}

  /** The marks now. Asked again before the answer is there, it is the same answer. */
  read(): Promise<Marks> {
    this.reading ??= this.ask().finally(() => (this.reading = undefined));
    return this.reading;
  }

  private async ask(): Promise<Marks> {
    const [epoch = null, scanned = null] = await readMany(this.session, [EPOCH_KEY, SCAN_KEY]);
    return {
      epoch: epoch ?? (await this.beginEpoch()),
      scannedAt: scanned === null ? undefined : Number(scanned),
    };
  }

  /** Redis has no mark, so it is new or lost its data: whoever sees it first writes one. */
  private async beginEpoch(): Promise<string> {
    const { run } = this.session;
    const mark = crypto.randomUUID();
    const written = await run((redis) => redis.set(EPOCH_KEY, mark, 'NX'));
    return written === null ? ((await run((redis) => redis.get(EPOCH_KEY))) ?? mark) : mark;
  }
}
