/** What one client knows of how busy the nodes of a service are: its own calls that are open there. */

/** The calls of this client to all nodes of a service. */
export class ServiceLoad<Node> {
  /** Calls that have no end yet. */
  open = 0;
  /** The node of which an answer has come last. */
  answered: Node | undefined;
}

/** The calls of this client to one node. */
export class NodeLoad<Node> {
  /** Calls that have no end yet. */
  open = 0;

  constructor(
    private readonly node: Node,
    private readonly service: ServiceLoad<Node>,
  ) {}

  /** A call is given to the node. {@link end} must follow once. */
  begin(): void {
    this.open += 1;
    this.service.open += 1;
  }

  /** That call has ended; `answered`: with an answer. */
  end(answered: boolean): void {
    this.open -= 1;
    this.service.open -= 1;
    if (answered) this.service.answered = this.node;
  }
}
