/** A service under load in virtual time: clients choose among its nodes by a picker, and nothing sleeps. */
import { NodeLoad, ServiceLoad } from '../../lib/routing/node-load.js';
import type { PickerSources } from '../../lib/routing/p2c.js';
import type { Candidate, Picker, PickerFactory } from '../../lib/routing/picker.js';
import { Agenda } from './agenda.js';

/** A node of the simulation. */
export interface SimulatedNode {
  readonly id: string;
  /** How long it works on a call, in ms; times are drawn from an exponential distribution around it. */
  readonly workMs: number;
  /** Calls that it works on at a time; the others wait. @default 8 */
  readonly workers?: number;
  readonly weight?: number;
  readonly zone?: string;
  /** True when every call fails. */
  readonly fails?: boolean;
  /** When it joins, in ms; @default from the beginning, and then it has been there for long */
  readonly joinsAtMs?: number;
}

/** Clients that share what they know, as those of one process do. */
export interface SimulatedClient {
  readonly picker: (sources: PickerSources) => PickerFactory;
  readonly callsPerSecond: number;
  readonly keyOf?: (random: () => number) => string | undefined;
}

export interface Simulation {
  readonly nodes: readonly SimulatedNode[];
  readonly clients: readonly SimulatedClient[];
  readonly durationMs: number;
  readonly slowStartMs?: number;
  readonly seed?: number;
}

/** A call that was made. */
export interface SimulatedCall {
  readonly atMs: number;
  readonly client: number;
  readonly node: string;
  readonly key: string | undefined;
  /** Calls of this client that were open at the node, and at all of them, this one included. */
  readonly openThere: number;
  readonly openInAll: number;
}

/** A client as it sees a node. */
class SimulatedCandidate implements Candidate {
  readonly id: string;
  readonly weight: number;
  readonly zone: string | undefined;
  readonly load: NodeLoad<SimulatedCandidate>;

  constructor(
    readonly server: Server,
    service: ServiceLoad<SimulatedCandidate>,
  ) {
    const { id, weight = 1, zone, joinsAtMs } = server.node;
    this.id = id;
    this.weight = weight;
    this.zone = zone;
    this.load = new NodeLoad<SimulatedCandidate>(this, service, joinsAtMs ?? -Infinity, () => weight);
  }
}

/** The node itself: so many workers, and a queue without end. */
class Server {
  private busy = 0;
  private readonly queue: (() => void)[] = [];

  constructor(
    readonly node: SimulatedNode,
    private readonly agenda: Agenda,
    private readonly random: () => number,
  ) {}

  serve(done: () => void): void {
    if (this.busy < (this.node.workers ?? 8)) this.work(done);
    else this.queue.push(() => this.work(done));
  }

  private work(done: () => void): void {
    this.busy += 1;
    this.agenda.in(exponential(this.node.workMs, this.random), () => {
      this.busy -= 1;
      done();
      this.queue.shift()?.();
    });
  }
}

/** Runs it; gives every call in the order in which they were made. */
export function simulate({
  nodes,
  clients,
  durationMs,
  slowStartMs = 0,
  seed = 1,
}: Simulation): SimulatedCall[] {
  const agenda = new Agenda();
  const random = seeded(seed);
  const calls: SimulatedCall[] = [];
  const servers = nodes.map((node) => new Server(node, agenda, random));
  for (const [client, { picker: make, callsPerSecond, keyOf }] of clients.entries()) {
    const service = new ServiceLoad<SimulatedCandidate>(slowStartMs);
    const factory = make({ random, now: () => agenda.now });
    const candidates: SimulatedCandidate[] = [];
    let picker: Picker<SimulatedCandidate> | undefined;
    for (const server of servers) {
      agenda.in(server.node.joinsAtMs ?? 0, () => {
        candidates.push(new SimulatedCandidate(server, service));
        picker = factory([...candidates], picker);
      });
    }
    const arrive = (): void => {
      agenda.in(exponential(1_000 / callsPerSecond, random), () => {
        if (agenda.now > durationMs) return;
        const key = keyOf?.(random);
        const chosen = picker?.pick({ key });
        if (chosen === undefined) throw new Error('there is always a node');
        give(chosen, agenda);
        const { id: node, load } = chosen;
        calls.push({ atMs: agenda.now, client, node, key, openThere: load.open, openInAll: service.open });
        arrive();
      });
    };
    arrive();
  }
  agenda.run();
  return calls;
}

/** What part of the calls each node has had. */
export function sharesOf(calls: readonly SimulatedCall[]): Readonly<Record<string, number>> {
  const shares: Record<string, number> = {};
  for (const { node } of calls) shares[node] = (shares[node] ?? 0) + 1 / calls.length;
  return shares;
}

/** Numbers that look random and are the same for the same seed: Mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function give({ load, server }: SimulatedCandidate, agenda: Agenda): void {
  const began = agenda.now;
  load.begin();
  server.serve(() => {
    load.end();
    if (server.node.fails === true) load.failed(agenda.now - began, agenda.now);
    else load.answered(agenda.now - began, agenda.now);
  });
}

function exponential(mean: number, random: () => number): number {
  return -mean * Math.log(1 - random());
}
