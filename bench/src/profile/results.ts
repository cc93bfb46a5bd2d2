/** `bench/profile.json`: where the time of one call goes. */
import { join } from 'node:path';
import type { Machine } from '../report/results.js';
import type { LayerTimes } from './layers.js';

/** The profile that the repository keeps. */
export const PROFILE_FILE = join(import.meta.dirname, '..', '..', 'profile.json');

/** The whole file. */
export interface Profile {
  readonly date: string;
  /** The version of Node. */
  readonly node: string;
  readonly machine: Machine;
  /** How long each case was recorded. */
  readonly seconds: number;
  /** Between two samples. */
  readonly intervalUs: number;
  readonly cases: readonly ProfileCase[];
}

/** Calls of 100 B, so many at once. */
export interface ProfileCase {
  readonly inFlight: number;
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly client: Side;
  readonly server: Side;
}

/** One process, for each call. */
export interface Side {
  /** Processor time of all its threads, while it was recorded, in microseconds. */
  readonly cpuUs: number;
  /** Time of its main thread, in microseconds. */
  readonly layers: LayerTimes;
}
