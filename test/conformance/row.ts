/** What a row of the conformance table is: one behaviour, how it is observed, and what is seen on each transport. */
import type { Stage } from './stage.js';

/** The transports that are compared. */
export type Kind = 'tcp' | 'mesh';

/** What is seen on one transport. */
export interface Finding {
  /** For the table: what happens, in a few words. */
  readonly says: string;
  /** What `observe` gives, to the letter. */
  readonly sees: unknown;
}

/** A transport on which there is nothing to observe. */
export interface Absent {
  /** For the table: why there is nothing. */
  readonly none: string;
}

interface RowBase {
  /** Unique, as `patterns.object`. */
  readonly id: string;
  /** A sentence that states the behaviour. */
  readonly title: string;
  /** What is seen over the mesh in MessagePack, where that is something else: bytes, and 64-bit integers. */
  readonly packed?: Finding;
  /** Runs against either transport and gives what was seen. */
  observe(stage: Stage): Promise<unknown>;
}

/** Both transports behave alike. */
export interface SameRow extends RowBase {
  /** What `observe` gives on both. */
  readonly both: unknown;
}

/** The transports differ, and there is a reason. */
export interface DifferentRow extends RowBase {
  readonly tcp: Finding | Absent;
  readonly mesh: Finding | Absent;
  /** One sentence. */
  readonly why: string;
}

export type Row = SameRow | DifferentRow;

/** Rows about one thing. */
export interface Section {
  readonly title: string;
  readonly rows: readonly Row[];
}

export function isSame(row: Row): row is SameRow {
  return 'both' in row;
}

/** What must be seen on a transport; `undefined` when there is nothing to observe. */
export function expectationOf(
  row: Row,
  kind: Kind,
  inMessagePack = false,
): { readonly sees: unknown } | undefined {
  if (inMessagePack && row.packed !== undefined) return row.packed;
  if (isSame(row)) return { sees: row.both };
  const finding = row[kind];
  return 'none' in finding ? undefined : finding;
}
