/** What the bench and the programs that it starts say to each other: one JSON message a line, or over Node's own IPC. */

/** Any value that JSON carries. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Asks a program for something; it answers each with a {@link Reply} of the same `id`. */
export interface Command {
  readonly id: number;
  /**
   * - `serve`: become the server of a peer; args {@link Surroundings}, answers its address
   * - `connect`: become a client of it; args {@link Surroundings} with `address`, answers nothing
   * - `crowd`: become so many clients of it, each of which calls once; args `{ surroundings, count }`, answers nothing
   * - `check`: see that the peer answers a case rightly; args `{ case }`
   * - `drive`: do the work of a case; args `{ case, windowMs, args? }`, answers `Driven` of `cases/case.ts`
   * - `usage`: answers {@link Usage}; args `{ collect: true }` collects garbage first
   * - `received`: of a server: answers {@link Received}
   * - `record`: of a program in Node: begin to record a CPU profile; args `{ intervalUs }`, answers nothing
   * - `recorded`: end it; answers `LayerTimes` of `profile/layers.ts`
   * - `stop`: close all; the program ends by itself after its answer
   */
  readonly command:
    'serve' | 'connect' | 'crowd' | 'check' | 'drive' | 'usage' | 'received' | 'record' | 'recorded' | 'stop';
  readonly args: Json;
}

/** `error`: what went wrong, in words for a person. */
export type Reply =
  { readonly id: number; readonly result: Json } | { readonly id: number; readonly error: string };

/** What a server or a client is told when it starts. */
export interface Surroundings {
  /** The peer's own settings of `peers/index.ts`. */
  readonly settings: Json;
  /** URLs of the servers that the bench has started for it, by name: `redis`, `nats`. */
  readonly servers: { readonly [name: string]: string };
  /** A folder for this run, deleted after it: certificates (`ca.pem`, `cert.pem`, `key.pem`) and whatever else. */
  readonly folder: string;
  /** For a client: what its server answered to `serve`. */
  readonly address: Json;
}

/** What a process has used since it started. */
export interface Usage {
  /** User and system time of its processor, in microseconds. */
  readonly cpuUs: number;
  /** Resident memory, in bytes. */
  readonly rssBytes: number;
  /** JavaScript's heap in use; 0 where there is no such thing. */
  readonly heapBytes: number;
}

/** Events that a server has counted since it started. */
export interface Received {
  readonly events: number;
  /** When the last one came, on the clock {@link monotonicMs}. */
  readonly lastAtMs: number;
}

/** Milliseconds of the machine's monotonic clock, which all processes share (in Python: `time.monotonic() * 1000`). */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
