/** Choosing one node of a service. A picker is an immutable snapshot of the candidates, replaced when the set changes. */

/** What is known of the load of a node when one is chosen. */
export interface CandidateLoad {
  /** Calls of this client that are open there. */
  readonly open: number;
  /**
   * How long answers of the node take, in ms: an average that follows peaks at once and forgets them slowly; 0 while nothing is known.
   * `nowMs` is on the clock of `performance.now()`.
   */
  latencyMs(nowMs: number): number;
  /** The same without the peaks: what to expect of the next call, if it is one like any other. */
  meanMs(nowMs: number): number;
  /** How much a call costs there beside others: latency and open calls, less for heavy nodes, more for new and for busy ones. */
  cost(nowMs: number): number;
}

/** What is known of a node that may be picked. */
export interface Candidate {
  readonly id: string;
  readonly load: CandidateLoad;
  /** What the node wants beside others, as its option `weight` says: a node with 2 wants twice as many calls as one with 1. */
  readonly weight: number;
  /** Where the node stands, as its option `zone` says. */
  readonly zone: string | undefined;
}

/** What the call says about where it wants to go. */
export interface PickRequest {
  /** Calls with the same key go to the same node for as long as it is there. */
  readonly key?: string | undefined;
}

/** Chooses among the candidates it was made with. */
export interface Picker<Node extends Candidate = Candidate> {
  /** `undefined` when there is no candidate. Called once for each call: must not wait, and should not allocate. */
  pick(request: PickRequest): Node | undefined;
}

/** Makes the picker of a new set of candidates; `previous` is the one that it replaces. */
export type PickerFactory = <Node extends Candidate>(
  candidates: readonly Node[],
  previous: Picker<Node> | undefined,
) => Picker<Node>;
