/** Choosing one node of a service. A picker is an immutable snapshot of the candidates, replaced when the set changes. */

/** What is known of a node that may be picked. */
export interface Candidate {
  readonly id: string;
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
