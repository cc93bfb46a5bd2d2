/** `bench/micro.json`: what single steps cost. */
import { join } from 'node:path';
import type { Machine } from '../report/results.js';
import type { MicroGroup } from './piece.js';

/** The results that the repository keeps. */
export const MICRO_FILE = join(import.meta.dirname, '..', '..', 'micro.json');

/** The whole file. */
export interface MicroResults {
  readonly date: string;
  /** The version of Node. */
  readonly node: string;
  readonly machine: Machine;
  readonly pieces: readonly MicroResult[];
}

/** One piece, in nanoseconds for each time. */
export interface MicroResult {
  readonly group: MicroGroup;
  readonly title: string;
  readonly p25: number;
  readonly p50: number;
  readonly p99: number;
  /** Bytes of JavaScript's heap that one time takes. */
  readonly heapBytes: number;
}
