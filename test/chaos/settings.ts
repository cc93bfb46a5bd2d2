/** What the programs of the cluster are told when they start. */

/** Options of a mesh node as JSON. */
export interface JsonOptions {
  readonly service: string;
  readonly registry: string;
  readonly [option: string]: unknown;
}

export interface NodeSettings {
  readonly name: string;
  /** The file to which each handled call is appended. */
  readonly ledger: string;
  readonly workMs: number;
  /** Of the handler of `work`. @default no limit */
  readonly maxConcurrency?: number;
  /** @default loopback */
  readonly host?: string;
  readonly options: JsonOptions;
}

/**
 * What is sent: `work` may run once only, `read` and `stream` may run twice, `acked` is an event that waits until it was handled,
 * and `event` one that waits for nothing.
 */
export type Kind = 'work' | 'read' | 'stream' | 'acked' | 'event';

export interface ClientSettings {
  readonly name: string;
  /** The service that is called. */
  readonly to: string;
  /** The file to which each outcome is written. */
  readonly ledger: string;
  /** How many of each kind are sent in a second. */
  readonly rates: Readonly<Partial<Record<Kind, number>>>;
  readonly timeoutMs: number;
  readonly options: JsonOptions;
}

/** What a program holds. */
export interface Usage {
  readonly heapBytes: number;
  readonly handles: number;
  readonly held: number;
}
