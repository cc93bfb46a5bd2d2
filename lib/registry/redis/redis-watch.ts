/** Reads the live nodes of one service: the index says who, the keys say whether and where. */
import { MeshError } from '../../protocol/mesh-error.js';
import { isNodeId, parseNodeRecord, type NodeRecord } from '../node-record.js';
import type { Look, StoreLookout } from '../record-store.js';
import { EPOCH_KEY, indexKey, recordKey, scanStampKey } from './redis-keys.js';
import { malformed, RedisScan } from './redis-scan.js';
import { indexGraceMs, readMany, type RedisSession } from './redis-session.js';

/** The look-out for one service. Each look is two commands, whatever the number of nodes. */
export class RedisWatch implements StoreLookout {
  private readonly scan: RedisScan;
  private scanning = false;
  private closed = false;

  constructor(
    private readonly session: RedisSession,
    private readonly service: string,
  ) {
    this.scan = new RedisScan(session, service);
  }

  async look(): Promise<Look> {
    const first = await this.read();
    if (this.scanning || !this.scan.isDue(first.stamp, first.records.length)) return first;
    const scanned = this.tryScan(first.fresh);
    // With nothing to show, the answer waits for the scan: a peer that keeps only part 1 counts as found, not as late.
    if (first.records.length === 0) return (await scanned) ? this.read() : first;
    void scanned.then((added) => {
      if (added && !this.closed) this.session.hint(this.service);
    });
    return first;
  }

  close(): void {
    this.closed = true;
    this.scan.close();
  }

  /** Never rejects: the index answers without a scan too, and a dead link shows at the next look. */
  private async tryScan(fresh: ReadonlySet<string>): Promise<boolean> {
    this.scanning = true;
    try {
      return await this.scan.scan(fresh);
    } catch (error) {
      const { code, rawMessage } = MeshError.from(error);
      const message = `cannot scan for peers that are not in the index of ${this.service}: ${rawMessage}`;
      if (code === 'PERMISSION_DENIED') this.session.warnOnce.warn(message);
      else this.session.logger.debug?.(message);
      return false;
    } finally {
      this.scanning = false;
    }
  }

  private async read(): Promise<
    Look & { readonly fresh: ReadonlySet<string>; readonly stamp: string | null }
  > {
    const { session, service } = this;
    await session.clock.measure(session.run);
    const now = session.clock.now();
    const since = now - indexGraceMs(session.timings);
    const members = await session.run((redis) =>
      redis.zrangebyscore(indexKey(service), since, '+inf', 'WITHSCORES'),
    );
    const ids: string[] = [];
    const fresh = new Set<string>();
    for (let position = 0; position + 1 < members.length; position += 2) {
      const id = members[position];
      if (!isNodeId(id)) {
        session.warnOnce.warn(
          malformed(service, String(id).slice(0, 100), 'its id in the index is not a UUID'),
        );
        continue;
      }
      ids.push(id);
      if (Number(members[position + 1]) > now) fresh.add(id);
    }
    const [epoch = null, stamp = null, ...values] = await readMany(session, [
      EPOCH_KEY,
      scanStampKey(service),
      ...ids.map((id) => recordKey(service, id)),
    ]);
    const records = this.parse(ids, values);
    const mark = epoch ?? (await this.beginEpoch());
    return { records, generation: `${session.linkNumber()} ${mark}`, fresh, stamp };
  }

  private parse(ids: readonly string[], values: readonly (string | null)[]): NodeRecord[] {
    const records: NodeRecord[] = [];
    values.forEach((json, position) => {
      const id = ids[position];
      if (json === null || id === undefined) return;
      const { record, fault } = parseNodeRecord(json, { service: this.service, id });
      if (record === undefined) this.session.warnOnce.warn(malformed(this.service, id, fault));
      else records.push(record);
    });
    return records;
  }

  /** Redis has no mark, so it is new or lost its data: whoever sees it first writes one. */
  private async beginEpoch(): Promise<string> {
    const { run } = this.session;
    const mark = crypto.randomUUID();
    const written = await run((redis) => redis.set(EPOCH_KEY, mark, 'NX'));
    return written === null ? ((await run((redis) => redis.get(EPOCH_KEY))) ?? mark) : mark;
  }
}
