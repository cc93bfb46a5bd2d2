/** The names under which the mesh keeps things in Redis: those of the protocol, and those that this project adds. */
import type { RecordPlace } from '../node-record.js';

/** The channel on which the joins and leaves of all services are published, for whoever wants to see everything. */
export const EVENTS_CHANNEL = 'mesh:events';

/** The channel on which the changes of one service are published: nodes hear only of those whom they watch. */
export function eventsChannel(service: string): string {
  return `${EVENTS_CHANNEL}:${service}`;
}

/** The log of the nodes of a service that came, changed or went: a stream whose entries hold node ids. */
export function logKey(service: string): string {
  return `mesh:changes:${service}`;
}

/**
 * A random mark that every look reads along. It is written when it is missing, so a different one means that Redis lost
 * its data (flushed, restarted empty), and that the nodes which are missing now need not have left.
 */
export const EPOCH_KEY = 'mesh:epoch';

/**
 * The sorted set of the services that take events; member: service, score: expiry in epoch milliseconds. Also the channel
 * on which a service is published that was not in it.
 */
export const SUBSCRIBERS_KEY = 'mesh:subscribers';

/** The record of one node: fixed by the protocol. */
export function recordKey(service: string, id: string): string {
  return `mesh:service:${service}:${id}`;
}

/** The sorted set of the nodes of a service; member: node id, score: expiry in epoch milliseconds. */
export function indexKey(service: string): string {
  return `mesh:index:${service}`;
}

/** When the keyspace was walked last, in epoch milliseconds of Redis: one walk serves all services and everybody. */
export const SCAN_KEY = 'mesh:scan';

/** Held by whoever walks; it ends by itself, and before that nobody else begins. */
export const SCAN_LOCK_KEY = 'mesh:scan:lock';

/** The pattern by which SCAN finds the records of all services. */
export const RECORD_PATTERN = 'mesh:service:*';

const RECORD_PREFIX = 'mesh:service:';

/** Whose record stands under a key that matched {@link RECORD_PATTERN}; a service name has no colon. */
export function placeOfKey(key: string): RecordPlace {
  const end = key.lastIndexOf(':');
  return {
    service: key.slice(RECORD_PREFIX.length, Math.max(end, RECORD_PREFIX.length)),
    id: key.slice(end + 1),
  };
}
