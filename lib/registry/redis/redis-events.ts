/** What is published when something changes. Events only make others look sooner; nobody trusts them alone. */
import { MeshError } from '../../protocol/mesh-error.js';
import { EVENTS_CHANNEL, eventsChannel, SUBSCRIBERS_KEY } from './redis-keys.js';
import type { RedisSession } from './redis-session.js';

/** What is published on `mesh:events:{service}`, and all but `expire` on `mesh:events` too. */
export interface RegistryEvent {
  /** `expire`: the lease of `id`, and perhaps of others, ended without a word. */
  readonly event: 'join' | 'leave' | 'drain' | 'expire';
  readonly service: string;
  readonly id: string;
  /** The record on the wire; with `join` only. */
  readonly record?: Readonly<Record<string, unknown>>;
}

/** Tells those who watch the service, and whoever listens to everything. Never rejects. */
export async function publishEvent(session: RedisSession, event: RegistryEvent): Promise<void> {
  const text = JSON.stringify(event);
  await Promise.all([
    publish(session, eventsChannel(event.service), text),
    event.event === 'expire' ? undefined : publish(session, EVENTS_CHANNEL, text),
  ]);
}

/** Tells those who publish events that `service` takes some. Never rejects. */
export async function publishSubscriber(session: RedisSession, service: string): Promise<void> {
  await publish(session, SUBSCRIBERS_KEY, service);
}

/** Reads an event; `undefined` for anything that is none, since others may publish there too. */
export function parseRegistryEvent(message: string): RegistryEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { event, service, id } = value as Record<string, unknown>;
  if (event !== 'join' && event !== 'leave' && event !== 'drain' && event !== 'expire') return undefined;
  if (typeof service !== 'string' || typeof id !== 'string') return undefined;
  return { event, service, id };
}

async function publish(session: RedisSession, channel: string, text: string): Promise<void> {
  try {
    await session.run((redis) => redis.publish(channel, text));
  } catch (error) {
    // Whoever must do without events looks at each heartbeat interval.
    const reason = MeshError.is(error) ? error.rawMessage : String(error);
    session.warnOnce.warn(`cannot publish on ${EVENTS_CHANNEL}, changes are found by polling: ${reason}`);
  }
}
