/** Which plots the page shows, and what is in them. */
import type { Group } from '../cases/case.js';

/** A plot of bars, or of the latencies. */
export interface Plot {
  readonly file: string;
  /** The part of the page where it stands. */
  readonly group: Group;
  readonly title: string;
  /** In words, what its numbers are. */
  readonly shows: string;
  /** It is drawn when one of these was measured. */
  readonly cases: readonly string[];
  /** The peer that ratios are taken to; without one each case's own baseline. */
  readonly base?: string;
}

/** In the order of the page. */
export const PLOTS: readonly Plot[] = [
  {
    file: 'calls.svg',
    group: 'calls',
    title: 'Calls of 100 B, by how many are in flight',
    shows: 'ratio to Nest TCP',
    cases: ['calls-100b-1', 'calls-100b-16', 'calls-100b-128', 'calls-100b-1024'],
    base: 'nest-tcp',
  },
  {
    file: 'sizes.svg',
    group: 'sizes',
    title: 'Calls, by size',
    shows: 'ratio to Nest TCP',
    cases: ['calls-100b-128', 'calls-10kb-32', 'calls-1mb-8'],
    base: 'nest-tcp',
  },
  {
    file: 'streams.svg',
    group: 'streams',
    title: 'Events and response streams',
    shows: 'ratio to Nest TCP',
    cases: ['events-100b', 'stream-64b'],
    base: 'nest-tcp',
  },
  {
    file: 'channels.svg',
    group: 'streams',
    title: 'Request streams and raw channels',
    shows: 'ratio to the bare http2 stream',
    cases: ['upload-64b', 'channel-64b'],
    base: 'floor-http2',
  },
  {
    file: 'interop.svg',
    group: 'interop',
    title: 'Nest to Python, and Python to Nest',
    shows: 'ratio to gRPC',
    cases: ['nest-to-python', 'python-to-nest'],
  },
  {
    file: 'latency.svg',
    group: 'latency',
    title: 'Latency of calls of 100 B at a fixed rate',
    shows: 'percentiles, in µs',
    cases: ['latency-own-half', 'latency-same-rate'],
  },
];
