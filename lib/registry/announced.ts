/** What a node says of its handlers in its record: the reserved member `mesh` of the metadata. */
import type { NodeRecord } from './node-record.js';

/** The member of a record's metadata that belongs to the mesh. */
export const RESERVED_METADATA = 'mesh';

/** What a node says of itself for those who choose among several. */
export interface AnnouncedPlace {
  /** See the option `weight`. */
  readonly weight: number;
  /** See the option `zone`. */
  readonly zone: string | undefined;
}

/** All that a node says of itself. */
export interface Announced extends AnnouncedHandlers, AnnouncedPlace {}

const LEAST_WEIGHT = 0.001;
const MOST_WEIGHT = 1_000;

/** What callers may know of the handlers of a node. */
export interface AnnouncedHandlers {
  /** The patterns of its event handlers, wildcards included, sorted. */
  readonly events: readonly string[];
  /** The routes whose calls can be made again without harm, sorted. */
  readonly idempotent: readonly string[];
}

/** The metadata of a record: the user's own, and what the node says of itself, if that is anything. */
export function withAnnounced(
  metadata: NodeRecord['metadata'],
  { events, idempotent, weight, zone }: Announced,
): NodeRecord['metadata'] {
  const mesh: Record<string, unknown> = {};
  if (events.length > 0) mesh['events'] = events;
  if (idempotent.length > 0) mesh['idempotent'] = idempotent;
  if (weight !== 1) mesh['weight'] = weight;
  if (zone !== undefined) mesh['zone'] = zone;
  return Object.keys(mesh).length === 0 ? metadata : { ...metadata, [RESERVED_METADATA]: mesh };
}

/** What a record says of its node, without one what is usual; what is not of the right shape is left out. */
export function announcedOf(record: Pick<NodeRecord, 'metadata'> | undefined): Announced {
  const { events, idempotent, weight, zone } = membersOf(record?.metadata[RESERVED_METADATA]);
  return {
    events: stringsOf(events),
    idempotent: stringsOf(idempotent),
    weight: typeof weight === 'number' && weight >= LEAST_WEIGHT && weight <= MOST_WEIGHT ? weight : 1,
    zone: typeof zone === 'string' && zone !== '' ? zone : undefined,
  };
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
