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
