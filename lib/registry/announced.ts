/** What a node says of its handlers in its record: the reserved member `mesh` of the metadata. */
import type { NodeRecord } from './node-record.js';

/** The member of a record's metadata that belongs to the mesh. */
export const RESERVED_METADATA = 'mesh';

/** What callers may know of the handlers of a node. */
export interface AnnouncedHandlers {
  /** The patterns of its event handlers, wildcards included, sorted. */
  readonly events: readonly string[];
  /** The routes whose calls can be made again without harm, sorted. */
  readonly idempotent: readonly string[];
}

/** The metadata of a record: the user's own, and what its handlers say, if that is anything. */
export function withAnnounced(
  metadata: NodeRecord['metadata'],
  { events, idempotent }: AnnouncedHandlers,
): NodeRecord['metadata'] {
  if (events.length === 0 && idempotent.length === 0) return metadata;
  const mesh: { events?: readonly string[]; idempotent?: readonly string[] } = {};
  if (events.length > 0) mesh.events = events;
  if (idempotent.length > 0) mesh.idempotent = idempotent;
  return { ...metadata, [RESERVED_METADATA]: mesh };
}

/** What a record says of the handlers of its node; what is not of the right shape is left out. */
export function announcedOf({ metadata }: Pick<NodeRecord, 'metadata'>): AnnouncedHandlers {
  const { events, idempotent } = membersOf(metadata[RESERVED_METADATA]);
  return { events: stringsOf(events), idempotent: stringsOf(idempotent) };
}

/** True for the metadata of a node that takes events. */
export function takesEvents(metadata: unknown): boolean {
  return announcedOf({ metadata: membersOf(metadata) }).events.length > 0;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];
}
