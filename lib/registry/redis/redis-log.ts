/**
 * The log of changes of a service: a stream of the ids that came, changed or went. A reader asks what was added since its
 * last look, so a service in which nothing happens costs the same however many nodes it has.
 */
import { MeshError } from '../../protocol/mesh-error.js';
import { logKey } from './redis-keys.js';
import type { RedisSession } from './redis-session.js';

/** The newest entries that are kept, at least. */
export const KEPT_ENTRIES = 1_000;
/** A log to which nothing is added disappears after this time; whoever has read it to its end misses nothing. */
const LOG_TTL_MS = 3_600_000;
/** The position before the first entry. */
export const LOG_START = '0-0';

/** What was added to a log. */
export interface LogAddition {
  readonly ids: ReadonlySet<string>;
  /** The position from which to read on. */
  readonly position: string;
}

/** Adds the ids of nodes that came, changed or went, after the change itself stands. Never rejects for lack of permission. */
export async function addToLog(
  session: RedisSession,
  service: string,
  ids: readonly string[],
): Promise<void> {
  const { run } = session;
  const key = logKey(service);
  try {
    await Promise.all([
      run((redis) => redis.xadd(key, 'MAXLEN', '~', KEPT_ENTRIES, '*', 'ids', ids.join(' '))),
      run((redis) => redis.pexpire(key, LOG_TTL_MS)),
    ]);
  } catch (error) {
    if (!isNotPermitted(error)) throw error;
    session.warnOnce.warn(`cannot write ${key}, so that others see changes late: ${error.rawMessage}`);
  }
}

/** Where the log ends now. `undefined` where it must not be read. */
export async function endOfLog(session: RedisSession, service: string): Promise<string | undefined> {
  const key = logKey(service);
  try {
    const entries = await session.run((redis) => redis.xrevrange(key, '+', '-', 'COUNT', 1));
    return entries[0]?.[0] ?? LOG_START;
  } catch (error) {
    if (!isNotPermitted(error)) throw error;
    session.warnOnce.warn(`cannot read ${key}, so every look reads all records: ${error.rawMessage}`);
    return undefined;
  }
}

/** One entry as Redis gives it: its position, and names and values in turn. */
export type LogEntry = readonly [position: string, fields: readonly string[]];

/** What the entries after `position` say; `undefined` when they are so many that some may be gone from the log already. */
export function additionOf(entries: readonly LogEntry[], position: string): LogAddition | undefined {
  if (entries.length >= KEPT_ENTRIES) return undefined;
  const ids = entries.flatMap(([, fields]) => idsOf(fields));
  return { ids: new Set(ids), position: entries.at(-1)?.[0] ?? position };
}

/** Names and values in turn; names other than `ids` are for later versions. */
function idsOf(fields: readonly string[]): string[] {
  const at = fields.indexOf('ids');
  return at === -1 ? [] : (fields[at + 1]?.split(' ') ?? []);
}

/** Not permitted, or a Redis before 5.0. */
function isNotPermitted(error: unknown): error is MeshError {
  if (!MeshError.is(error)) return false;
  return error.code === 'PERMISSION_DENIED' || /unknown command/i.test(error.rawMessage);
}
