/** The targets of the benchmark: what the mesh must reach at least, beside what was measured. */
import { MANY_NODES } from '../cases/many-nodes.js';
import { spreadOf, type Spread } from '../statistics.js';
import {
  latencyOf,
  ratioOf,
  resultOf,
  valueOf,
  type CaseResult,
  type Result,
  type Results,
} from './results.js';

/** How much more a call may cost a client of many nodes than one of a single node. */
const MOST_FOR_NODES = 1.1;

/** One line of the table of targets. */
export interface Target {
  /** The work, in words. */
  readonly work: string;
  /** What counts as reached, in words. */
  readonly wanted: string;
  /** `undefined` when the results do not tell. */
  judge(results: Results): Judgement | undefined;
}

/** What was measured for a target. */
export interface Judgement {
  readonly measured: string;
  readonly met: boolean;
}

export const targets: readonly Target[] = [
  atLeast('calls, 100 B, 128 in flight', 2.5, 'Nest TCP', 'calls-100b-128', 'mesh', 'nest-tcp'),
  atLeast('', 15, 'Nest gRPC', 'calls-100b-128', 'mesh', 'nest-grpc'),
  atLeast('', 4, 'Nest NATS', 'calls-100b-128', 'mesh', 'nest-nats'),
  { work: '', wanted: 'first of all peers', judge: (results) => judgePlace(results, 'calls-100b-128') },
  atLeast('', 0.6, 'the bare http2 stream', 'calls-100b-128', 'mesh', 'floor-http2'),
  {
    work: 'calls, 100 B, 1 in flight',
    wanted: 'p50 no worse than Nest TCP',
    judge: (results) => judgeLatency(results, 'calls-100b-1', 'p50'),
  },
  atLeast('calls, 10 KB, 32 in flight', 1.3, 'Nest TCP', 'calls-10kb-32', 'mesh', 'nest-tcp'),
  atLeast('calls, 1 MB, 8 in flight', 1.1, 'Nest TCP', 'calls-1mb-8', 'mesh', 'nest-tcp'),
  atLeast('response stream, items of 64 B', 5, 'Nest TCP', 'stream-64b', 'mesh', 'nest-tcp'),
  atLeast('', 8, 'Nest gRPC', 'stream-64b', 'mesh', 'nest-grpc'),
  atLeast('events, 100 B', 2.5, 'Nest TCP', 'events-100b', 'mesh', 'nest-tcp'),
  atLeast('raw channel, both ways', 0.8, 'the bare http2 stream', 'channel-64b', 'mesh', 'floor-http2'),
  {
    work: 'calls, 100 B, at half of the maximum of Nest TCP',
    wanted: 'p99 no worse than Nest TCP',
    judge: (results) => judgeLatency(results, 'latency-same-rate', 'p99'),
  },
  atLeast('TLS, 128 in flight', 0.8, 'cleartext', 'calls-100b-128', 'mesh-tls', 'mesh'),
  atLeast(
    'Nest to Python, 128 in flight',
    5,
    'Nest gRPC to grpcio',
    'nest-to-python',
    'mesh-to-python',
    'grpc-to-python',
  ),
  atLeast(
    'Python to Nest, 128 in flight',
    3,
    'grpcio to Nest gRPC',
    'python-to-nest',
    'python-to-mesh',
    'python-to-grpc',
  ),
  costOfNodes('one client over 10, 100 and 1,000 nodes, 1 in flight', 'nodes-100b-1'),
  costOfNodes('one client over 10, 100 and 1,000 nodes, 128 in flight', 'nodes-100b-128'),
  atMost('idle connected peer, server', 100, 'memory-idle-server'),
  atMost('idle connected peer, client', 100, 'memory-idle-client'),
];

/** A target for the ratio of two peers in one case. An empty `work` means: that of the line above. */
export function atLeast(
  work: string,
  least: number,
  than: string,
  caseName: string,
  peer: string,
  base: string,
): Target {
  return {
    work,
    wanted: `${least} × ${than}`,
    judge: (results) => {
      const found = caseOf(results, caseName);
      const result = found && resultOf(found, peer);
      const ratio = result && ratioOf(result, resultOf(found, base));
      return ratio && { measured: spreadText(ratio), met: ratio.median >= least };
    },
  };
}

/** A target for what the mesh needs at most, in the unit of the case. */
export function atMost(work: string, most: number, caseName: string): Target {
  return {
    work,
    wanted: `at most ${most} KB`,
    judge: (results) => {
      const found = caseOf(results, caseName);
      const result = found && resultOf(found, 'mesh');
      if (found === undefined || result === undefined || result.rounds.length === 0) return undefined;
      const value = valueOf(result);
      return { measured: `${spreadText(value)} ${found.unit}`, met: value.median <= most };
    },
  };
}

/** A target for the processor time of a client for each call: no more with many nodes than {@link MOST_FOR_NODES} of that with one. */
export function costOfNodes(work: string, caseName: string): Target {
  return {
    work,
    wanted: `at most ${MOST_FOR_NODES} × the client's processor time with one node`,
    judge: (results) => {
      const found = caseOf(results, caseName);
      const [one, ...many] = MANY_NODES.map((peer) => found && resultOf(found, peer));
      const ratios = many.map((result) => result && one && clientCpuRatio(result, one));
      const medians = ratios.flatMap((ratio) => ratio?.median ?? []);
      if (medians.length < many.length) return undefined;
      return {
        measured: medians.map((ratio) => ratio.toFixed(2)).join(', '),
        met: Math.max(...medians) <= MOST_FOR_NODES,
      };
    },
  };
}

function clientCpuRatio(result: Result, one: Result): Spread | undefined {
  const ratios = result.rounds.flatMap(({ clientCpuUs }, round) => {
    const other = one.rounds[round]?.clientCpuUs;
    return clientCpuUs === undefined || other === undefined ? [] : [clientCpuUs / other];
  });
  return ratios.length === 0 ? undefined : spreadOf(ratios);
}

/** A case of the results, by name. */
export function caseOf({ cases }: Results, name: string): CaseResult | undefined {
  return cases.find((each) => each.name === name);
}

/** Judges by the median of each round's percentile, mesh against Nest TCP. */
export function judgeLatency(
  results: Results,
  name: string,
  percentile: 'p50' | 'p99',
): Judgement | undefined {
  const found = caseOf(results, name);
  const [mesh, tcp] = ['mesh', 'nest-tcp'].map((peer) => {
    const result = found && resultOf(found, peer);
    return result && latencyOf(result)?.[percentile];
  });
  if (mesh === undefined || tcp === undefined) return undefined;
  return { measured: `${mesh.toFixed(0)} µs, Nest TCP ${tcp.toFixed(0)} µs`, met: mesh <= tcp };
}

function judgePlace(results: Results, name: string): Judgement | undefined {
  const found = caseOf(results, name);
  if (found === undefined) return undefined;
  const ranked = found.results
    .filter(({ peer, rounds }) => !peer.startsWith('floor-') && peer !== 'mesh-tls' && rounds.length > 0)
    .map(({ peer, rounds }) => ({ peer, median: spreadOf(rounds.map(({ value }) => value)).median }))
    .sort((a, b) => b.median - a.median);
  const place = ranked.findIndex(({ peer }) => peer === 'mesh') + 1;
  return place === 0 ? undefined : { measured: `place ${place} of ${ranked.length}`, met: place === 1 };
}

function spreadText({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} (${min.toFixed(2)} … ${max.toFixed(2)})`;
}
