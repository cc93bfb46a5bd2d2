/**
 * Reads the live nodes of one service: the first time all of them, and from then on what the log says has changed and
 * those whose lease in the index is over. The index and the log say who, the keys say whether and where.
 */
import { isNodeId, parseNodeRecord, type NodeRecord } from '../node-record.js';
import type { Look, StoreLookout } from '../record-store.js';
import { eventsChannel, indexKey, recordKey } from './redis-keys.js';
import { reap } from './redis-lease.js';
import { endOfLog, type LogAddition } from './redis-log.js';
import type { RedisLogReader } from './redis-log-reader.js';
import type { Marks, RedisMarks } from './redis-marks.js';
import { malformed, RedisScan, SCAN_EVERY_LOOKS } from './redis-scan.js';
import { indexGraceMs, readMany, type RedisSession } from './redis-session.js';

/** All records are read again after so many milliseconds for each of them, so that no slip of the log lasts. */
const REREAD_MS_PER_NODE = 3_000;
/** At the soonest. */
const LEAST_REREAD_MS = 300_000;

/** What the look-outs of a registry share. */
export interface RedisWatchDeps {
  readonly session: RedisSession;
  readonly marks: RedisMarks;
  readonly log: RedisLogReader;
  readonly scan: RedisScan;
}

interface Known {
  readonly json: string;
  readonly record: NodeRecord;
}

/** The look-out for one service. A look at a service in which nothing happens costs the same for any number of nodes. */
export class RedisWatch implements StoreLookout {
  private readonly listening: Promise<void>;
  private known = new Map<string, Known>();
  private records: readonly NodeRecord[] = [];
  /** Those that are gone since the last answer, but for peers that keep no index: their leaving cannot be told from their loss. */
  private lost: string[] = [];
  /** Those with a key whose lease in the index was over at the last look. */
  private unindexed: ReadonlySet<string> = new Set();
  /** Up to where the log was read; `undefined`: all records are to be read. */
  private position: string | undefined;
  private generation = '';
  private rereadAt = 0;
  private looks = 0;
  /** Those in a row that found nobody. */
  private emptyLooks = 0;
  private closed = false;

  constructor(
    private readonly deps: RedisWatchDeps,
    private readonly service: string,
  ) {
    this.listening = deps.session.listen(eventsChannel(service));
  }

  async look(): Promise<Look> {
    const { scan, session } = this.deps;
    await this.listening;
    const marks = await this.refresh();
    if (!this.isScanDue(marks)) return this.answer();
    const walk = scan.walk();
    // With nothing to show, the answer waits for the walk: a peer that keeps only part 1 counts as found, not as late.
    if (this.known.size === 0) {
      const grown = await walk;
      if (grown.has(this.service)) await this.readAll(marks);
      return this.answer();
    }
    void walk.then((grown) => {
      if (this.closed) return;
      for (const service of grown) session.hint(service);
    });
    return this.answer();
  }

  close(): void {
    this.closed = true;
    this.deps.session.unlisten(eventsChannel(this.service));
  }

  private answer(): Look {
    const { records, generation, lost } = this;
    if (lost.length > 0) this.lost = [];
    return { records, generation, lost };
  }

  private isScanDue({ scannedAt }: Marks): boolean {
    const { timings, clock } = this.deps.session;
    const { heartbeatIntervalMs } = timings;
    const patienceMs =
      this.looks === 0
        ? RedisScan.firstScanAgeMs(heartbeatIntervalMs)
        : // Nine tenths, since looks are jittered: the one whose turn it is must not be taken for too early.
          0.9 * this.looksPerScan() * heartbeatIntervalMs;
    this.looks += 1;
    this.emptyLooks = this.known.size > 0 ? 0 : this.emptyLooks + 1;
    return scannedAt === undefined || Math.abs(clock.now() - scannedAt) >= patienceMs;
  }

  /** While nobody is known after 1, 2, 4, 5, 5… looks. */
  private looksPerScan(): number {
    if (this.known.size > 0 || this.emptyLooks === 0) return SCAN_EVERY_LOOKS;
    return Math.min(2 ** Math.floor(Math.log2(this.emptyLooks)), SCAN_EVERY_LOOKS);
  }

  /** Brings what is known up to date, by as little as will do. */
  private async refresh(): Promise<Marks> {
    const { session, marks, log } = this.deps;
    const { service, position } = this;
    await session.clock.measure(session.run);
    const now = session.clock.now();
    // All at once, so that it is one write together with the other looks and heartbeats of this instant.
    const [found, addition, doubtful] = await Promise.all([
      marks.read(),
      position === undefined ? undefined : log.read(service, position),
      position === undefined ? [] : this.membersInDoubt(now),
    ]);
    const isSame = this.generationOf(found) === this.generation && now < this.rereadAt;
    if (addition === undefined || !isSame) await this.readAll(found);
    else await this.readSome(addition, doubtful);
    return found;
  }

  /** Those whose lease in the index is over: crashed, or peers that do not keep the index. */
  private membersInDoubt(now: number): Promise<string[]> {
    const { session } = this.deps;
    const since = now - indexGraceMs(session.timings);
    return session.run((redis) => redis.zrangebyscore(indexKey(this.service), since, now));
  }

  private async readSome(addition: LogAddition, doubtful: readonly string[]): Promise<void> {
    const ids = this.validIds(new Set([...addition.ids, ...doubtful]));
    if (ids.length > 0) {
      const known = new Map(this.known);
      const missing = await this.readInto(known, ids);
      // Those that left are not in the index any more, so most often there is nobody to reap.
      const expired = new Set(doubtful);
      await reap(
        this.deps.session,
        this.service,
        missing.filter((id) => expired.has(id)),
      );
      this.take(known);
    }
    this.unindexed = new Set(doubtful.filter((id) => this.known.has(id)));
    this.position = addition.position;
  }

  private async readAll(marks: Marks): Promise<void> {
    const { session } = this.deps;
    const { service } = this;
    // The end of the log first: what is added while the records are read is then read once more.
    const position = await endOfLog(session, service);
    const now = session.clock.now();
    const since = now - indexGraceMs(session.timings);
    const members = await session.run((redis) => redis.zrangebyscore(indexKey(service), since, '+inf'));
    const known = new Map<string, Known>();
    const missing = await this.readInto(known, this.validIds(members));
    await reap(session, service, missing);
    this.take(known);
    this.position = position;
    this.generation = this.generationOf(marks);
    const untilRereadMs = Math.max(LEAST_REREAD_MS, REREAD_MS_PER_NODE * known.size);
    this.rereadAt = now + untilRereadMs * (0.9 + 0.2 * Math.random());
  }

  /** Reads the keys of `ids` and puts what is live into `known`; resolves with those that have no key. */
  private async readInto(known: Map<string, Known>, ids: readonly string[]): Promise<string[]> {
    const { session } = this.deps;
    const { service } = this;
    const values = await readMany(
      session,
      ids.map((id) => recordKey(service, id)),
    );
    const missing: string[] = [];
    ids.forEach((id, at) => {
      const json = values[at] ?? null;
      const before = this.known.get(id);
      if (json !== null && before?.json === json) {
        known.set(id, before);
        return;
      }
      known.delete(id);
      if (json === null) {
        missing.push(id);
        return;
      }
      const { record, fault } = parseNodeRecord(json, { service, id });
      if (record === undefined) session.warnOnce.warn(malformed(service, id, fault));
      else known.set(id, { json, record });
    });
    return missing;
  }

  private take(known: Map<string, Known>): void {
    const before = this.known;
    this.known = known;
    if (known.size === before.size && [...known].every(([id, one]) => before.get(id) === one)) return;
    this.records = [...known.values()].map(({ record }) => record);
    for (const id of before.keys()) if (!known.has(id) && !this.unindexed.has(id)) this.lost.push(id);
  }

  private validIds(ids: Iterable<string>): string[] {
    return [...ids].filter((id) => {
      if (isNodeId(id)) return true;
      const fault = 'its id in the index is not a UUID';
      this.deps.session.warnOnce.warn(malformed(this.service, String(id).slice(0, 100), fault));
      return false;
    });
  }

  private generationOf({ epoch }: Marks): string {
    return `${this.deps.session.linkNumber()} ${epoch}`;
  }
}
