/** The record by which a node announces itself: its shape on the wire, and the guard for what others wrote. */

/** One running instance of a service, as found in the registry. */
export interface NodeRecord {
  /** UUID v4, one per running instance. */
  readonly id: string;
  /** The logical name, `service_name` on the wire. */
  readonly service: string;
  /** IP address or host name to dial. */
  readonly host: string;
  /** TCP port to dial, 1 to 65535. */
  readonly port: number;
  /** Free-form; `{}` when the record has none. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** What {@link parseNodeRecord} found: the record, or why there is none, in words for a log line. */
export type ParsedNodeRecord =
  | { readonly record: NodeRecord; readonly fault?: never }
  | { readonly fault: string; readonly record?: never };

/** Where a record was found; it must say the same of itself. */
export interface RecordPlace {
  readonly service: string;
  readonly id: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const MAX_HOST_LENGTH = 255;

/** True for anything with the shape of a UUID, of any version and in either case of letters. */
export function isNodeId(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** Reads the JSON of a record found at `place`. Never throws; members that it does not know are ignored. */
export function parseNodeRecord(json: string, place: RecordPlace): ParsedNodeRecord {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { fault: `it is not JSON: ${shorten(json)}` };
  }
  return readNodeRecord(value, place);
}

/** Reads a record that is parsed JSON already. Never throws. */
export function readNodeRecord(value: unknown, place: RecordPlace): ParsedNodeRecord {
  if (!isObject(value)) return { fault: `it is not a JSON object: ${shorten(JSON.stringify(value))}` };
  const { id, service_name: service, host, port, metadata } = value;
  if (id !== place.id) return { fault: `its id ${show(id)} is not the id ${show(place.id)} of its key` };
  if (service !== place.service) {
    return {
      fault: `its service_name ${show(service)} is not the service ${show(place.service)} of its key`,
    };
  }
  const record = { id, service, host, port, metadata: isObject(metadata) ? metadata : {} };
  const fault = faultOfNodeRecord(record);
  return fault === undefined ? { record: record as NodeRecord } : { fault };
}

/** Why these values cannot be a {@link NodeRecord}, naming the first bad one; `undefined` when they can. */
export function faultOfNodeRecord(record: Readonly<Record<keyof NodeRecord, unknown>>): string | undefined {
  const { id, host, port } = record;
  if (!isNodeId(id)) return `its id ${show(id)} is not a UUID`;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    return `its port ${show(port)} is not an integer from 1 to 65535`;
  }
  if (typeof host !== 'string' || host === '') return `its host ${show(host)} is not a name or an address`;
  if (host.length > MAX_HOST_LENGTH) return `its host is longer than ${MAX_HOST_LENGTH} characters`;
  // Such a host would travel into logs, error messages and the `:authority` header.
  if (/[\s\p{Cc}]/u.test(host)) return `its host ${show(host)} has spaces or control characters`;
  if (!isObject(record.metadata)) return `its metadata ${show(record.metadata)} is not an object`;
  return undefined;
}

/** The record as it stands in the registry: the members and their order are those of the protocol. */
export function toRecordJson(record: NodeRecord): string {
  return JSON.stringify(toWireRecord(record));
}

/** The members of the record on the wire, in the order of the protocol. */
export function toWireRecord(record: NodeRecord): Record<string, unknown> {
  const { id, service, host, port, metadata } = record;
  return { id, service_name: service, host, port, metadata };
}

function show(value: unknown): string {
  return shorten(JSON.stringify(value) ?? String(value));
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
