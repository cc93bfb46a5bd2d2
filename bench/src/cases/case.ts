/** What a case is: one piece of work, done by every peer in turn, that gives one number a round. */
import type { Ability, Client } from '../peers/peer.js';
import type { Pair } from '../pair.js';
import type { Json } from '../program/protocol.js';

/** How long a round may take. */
export interface Limits {
  /** The time of the work itself. */
  readonly windowMs: number;
}

/** Percentiles of the time of one call, in microseconds. */
export interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What a client program answers to `drive`. */
export interface Driven {
  /** How much was done: calls, events, items. */
  readonly count: number;
  readonly elapsedMs: number;
  /** When it began, on the clock `monotonicMs`. */
  readonly startedAtMs: number;
  readonly latencyUs?: Latency;
}

/** What one round of one peer has given. */
export interface Measurement {
  /** In the unit of the case. */
  readonly value: number;
  /** Processor time for one piece of work, in microseconds. */
  readonly clientCpuUs?: number;
  readonly serverCpuUs?: number;
  readonly latencyUs?: Latency;
  /** Events that never came. */
  readonly lost?: number;
  /** Further numbers, by name with unit. */
  readonly more?: { readonly [name: string]: number };
}

/** Cases that stand in one table of the page and, mostly, in one plot. */
export const GROUPS = [
  'calls',
  'sizes',
  'streams',
  'interop',
  'latency',
  'memory',
  'cold-start',
  'nodes',
] as const;

/** One of {@link GROUPS}. */
export type Group = (typeof GROUPS)[number];

/** A case. Its file is loaded by the bench and by every program, so it must import nothing heavy. */
export interface Case {
  readonly name: string;
  readonly title: string;
  readonly group: Group;
  /** For tables: `calls/s`, `ms`, `KB`. */
  readonly unit: string;
  /** @default 'more' */
  readonly better?: 'more' | 'less';
  /** What a client must be able to do. */
  readonly ability?: Ability;
  /** The peers that are in it, by name. @default all general ones */
  readonly peers?: readonly string[];
  /** What its ratios are taken to. @default BASELINE of `peers/index.ts` */
  readonly baseline?: string;
  /** Part of `--quick`. @default false */
  readonly quick?: boolean;
  /** Each round has programs that were just started, warmed up by nothing but {@link check}. @default false */
  readonly fresh?: boolean;
  /** In a client program: throws unless the peer answers rightly. Also the first of its warm-up. */
  check?(client: Client): Promise<void>;
  /** In a client program: the work. `args` is what {@link measure} gave, with `windowMs`. */
  drive?(client: Client, args: DriveArgs): Promise<Driven>;
  /**
   * In the bench: one round of one peer. The usual one is `measureDrive` of `measure.ts`: `drive` once, with the processor
   * time of both sides.
   */
  measure?(pair: Pair, limits: Limits): Promise<Measurement>;
}

/** What `drive` is told. */
export interface DriveArgs extends Limits {
  readonly args?: Json;
}
