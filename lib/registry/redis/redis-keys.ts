/** The names under which the mesh keeps things in Redis: those of the protocol, and those that this project adds. */
import { isNodeId } from '../node-record.js';

/** The channel on which joins, leaves and drains are published. */
export const EVENTS_CHANNEL = 'mesh:events';

/**
 * A random mark that every look reads along. It is written when it is missing, so a different one means that Redis lost
 * its data (flushed, restarted empty), and that the nodes which are missing now need not have left.
 */
export const EPOCH_KEY = 'mesh:epoch';

/** The sorted set of the services that take events; member: service, score: expiry in epoch milliseconds. */
export const SUBSCRIBERS_KEY = 'mesh:subscribers';

/** The record of one node: fixed by the protocol. */
export function recordKey(service: string, id: string): string {
  return `mesh:service:${service}:${id}`;
}

/** The sorted set of the nodes of a service; member: node id, score: expiry in epoch milliseconds. */
export function indexKey(service: string): string {
  return `mesh:index:${service}`;
}

/** When a service was scanned for last, in epoch milliseconds of Redis, so that not every node scans for itself. */
export function scanStampKey(service: string): string {
  return `mesh:scan:${service}`;
}

/** The pattern by which SCAN finds the records of exactly this service. */
export function recordPattern(service: string): string {
  return recordKey(escapeGlob(service), '*');
}

/** The node id in a key that matched {@link recordPattern}; `undefined` when it is none. */
export function nodeIdOfKey(service: string, key: string): string | undefined {
  const prefix = recordKey(service, '');
  const id = key.startsWith(prefix) ? key.slice(prefix.length) : undefined;
  return isNodeId(id) ? id : undefined;
}

/** Takes the special meaning from the characters that Redis knows in patterns. */
function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]^-]/g, String.raw`\$&`);
}
