/** The nodes of one service as this node sees them: the registry's list, the connections, and who waits for one. */
import { MeshError } from '../protocol/mesh-error.js';
import type { LoadReport } from '../protocol/packet.js';
import type { NodeRecord } from '../registry/node-record.js';
import type { ServiceRegistry, Watch } from '../registry/registry.js';
import type { PacketChannel } from '../transport/packet-channel.js';
import { announcedOf } from '../registry/announced.js';
import { Ejection } from '../routing/ejection.js';
import type { OutboundCall } from '../transport/outbound-call.js';
import { DirectoryRecovery, type CallRecoveryHost } from './call-recovery.js';
import type { NodeWish, Waiter } from './waiter.js';
import { Candidates } from './candidates.js';
import { IdleSessions } from './idle-sessions.js';
import { RemoteNode, type RemoteNodeDeps } from './remote-node.js';
import { placeCall } from './pending.js';
import { commonRefusal, describeUnreached } from './unreached.js';

/** The nodes that have dialled this one. */
export interface InboundNodes {
  /** The packet channel that the node has opened. */
  ofNode(nodeId: string): PacketChannel | undefined;
  /** The packet channels of the nodes of a service that open no port. */
  portlessOf(service: string): readonly PacketChannel[];
}

export class Directory implements CallRecoveryHost {
  private readonly nodes = new Map<string, RemoteNode>();
  private readonly waiters = new Set<Waiter>();
  private readonly candidates: Candidates;
  private readonly ejection: Ejection;
  /** Makes calls again that have failed. */
  readonly recovery: DirectoryRecovery;
  private readonly idle: IdleSessions;
  private readonly watch: Watch;
  private retryScheduled = false;
  private kept = false;
  private closed = false;
  /** True once the registry has listed nodes, which may be there for long: those that come later have just begun. */
  private answered = false;

  constructor(
    readonly service: string,
    private readonly registry: ServiceRegistry,
    private readonly deps: RemoteNodeDeps,
    private readonly inbound: InboundNodes,
  ) {
    const { options } = deps;
    this.candidates = new Candidates(options);
    this.ejection = new Ejection(options.ejection);
    this.recovery = new DirectoryRecovery(this, options.retry, options.retryBudget);
    this.idle = new IdleSessions(deps.options.idleSessionMs, (node) => this.candidates.has(node));
    this.watch = registry.watch(service, (records) => this.apply(records));
    this.refresh();
  }

  get isOpen(): boolean {
    return !this.closed;
  }

  /** True when a node that is known announces that calls of the route may run twice. */
  isIdempotent(route: string): boolean {
    return this.knows((record) => record !== undefined && announcedOf(record).idempotent.includes(route));
  }

  passOver(error: MeshError): void {
    const node = error.nodeId === undefined ? undefined : this.nodes.get(error.nodeId);
    if (node?.available === true) node.passOver(error);
  }

  /** Gives a call to a node, at once or as soon as there is one, and looks after it until it ends. */
  place(call: OutboundCall, wish: NodeWish): void {
    this.recovery.attend(call, wish);
    placeCall(call, this, wish);
  }

  placeAgain(call: OutboundCall, wish: NodeWish): void {
    placeCall(call, this, wish);
  }

  /** Every node that is known, reachable or not. */
  get known(): readonly RemoteNode[] {
    return [...this.nodes.values()];
  }

  /** Whether `accepts` holds for a node that is known. */
  knows(accepts: (record: NodeRecord | undefined) => boolean): boolean {
    for (const { record } of this.nodes.values()) if (accepts(record)) return true;
    return false;
  }

  /** The packet channels that this node has opened to nodes of the service. */
  get dialledChannels(): readonly PacketChannel[] {
    return this.known.flatMap((node) => node.ownChannel ?? []);
  }

  /** Resolves once the registry has answered for the first time. */
  get ready(): Promise<void> {
    return this.watch.ready;
  }

  /** The node whose turn it is. Where it has a `channel`, a call goes out at once; else {@link wait} for it. */
  pick(wish: NodeWish): RemoteNode | undefined {
    const { accepts, avoid } = wish;
    if (wish.nodeId === undefined) {
      if (avoid !== undefined) {
        const other = this.candidates.pickAccepted(
          wish,
          ({ id, record }) => !avoid.has(id) && (accepts === undefined || accepts(record)),
        );
        if (other !== undefined) return other;
      }
      return accepts === undefined
        ? this.candidates.pick(wish)
        : this.candidates.pickAccepted(wish, ({ record }) => accepts(record));
    }
    const node = this.nodes.get(wish.nodeId) ?? this.adoptCaller(wish.nodeId);
    return node?.available === true ? node : undefined;
  }

  /** {@link pick} for a call, which counts as open there until it ends. */
  pickForCall(wish: NodeWish): RemoteNode | undefined {
    const anyWillDo =
      wish.nodeId === undefined &&
      wish.key === undefined &&
      wish.accepts === undefined &&
      wish.avoid === undefined;
    return anyWillDo ? this.candidates.pickForCall(wish) : this.pick(wish);
  }

  /** Gives the waiter a node as soon as there is one; `picked` is the one that {@link pick} has given it. */
  wait(waiter: Waiter, picked: RemoteNode | undefined): void {
    if (this.closed) {
      waiter.fail(new MeshError('UNAVAILABLE', 'the mesh node is closed', { delivery: 'not-sent' }));
      return;
    }
    this.waiters.add(waiter);
    this.serve(waiter, picked);
  }

  /** The waiter no longer wants one. */
  leave(waiter: Waiter): void {
    this.waiters.delete(waiter);
  }

  /** Whether a channel is kept to every node, also before anything is sent to it; then calls are spread over all of them. */
  keepConnected(kept: boolean): void {
    this.kept = kept;
    this.candidates.wantAll(kept);
    this.refresh();
  }

  /** A node of this service has dialled us: it can be reached now, also where dialling it has failed. */
  dialledUs(channel: PacketChannel): void {
    const { nodeId, listens } = channel.peer;
    const node = nodeId === undefined ? undefined : this.nodes.get(nodeId);
    if (!listens && node !== undefined) node.draining = false;
    this.refresh();
  }

  /** A channel that a node of this service had opened is gone. */
  leftUs(): void {
    this.refresh();
  }

  /** A node of this service takes nothing new. */
  drained(nodeId: string): void {
    const node = this.nodes.get(nodeId);
    if (node === undefined) return;
    node.draining = true;
    this.refresh();
  }

  /** A node of this service says how busy it is. */
  heard(nodeId: string, report: LoadReport): void {
    this.nodes.get(nodeId)?.load.heard(report, performance.now());
  }

  /** What was found, for the error of a call that waited in vain. */
  describe({ nodeId }: NodeWish): string {
    const { service, nodes, registry } = this;
    return describeUnreached({ service, nodes, registry }, nodeId);
  }

  /** Ends the watch, fails what waits or is open, and closes all connections. */
  async close(): Promise<void> {
    this.closed = true;
    this.idle.stop();
    this.watch.close();
    const waiters = [...this.waiters];
    this.waiters.clear();
    const error = new MeshError('UNAVAILABLE', 'the mesh node was closed', { delivery: 'not-sent' });
    for (const waiter of waiters) waiter.fail(error);
    this.recovery.close();
    await Promise.all(this.known.map((node) => node.close()));
  }

  private apply(records: readonly NodeRecord[]): void {
    if (this.closed) return;
    const listed = new Set(records.map(({ id }) => id));
    for (const node of this.nodes.values()) if (!listed.has(node.id)) node.listed = false;
    for (const record of records) {
      const node = this.nodes.get(record.id);
      if (node === undefined) this.addNode(record.id, record);
      else {
        node.update(record);
        this.candidates.list(node);
      }
    }
    if (records.length > 0) this.answered = true;
    this.refresh();
  }

  /** Nodes that are in no registry, but have opened a channel to this one for being called. */
  private adoptPortless(): void {
    for (const channel of this.inbound.portlessOf(this.service)) {
      const { nodeId } = channel.peer;
      if (nodeId === undefined || !channel.usable || this.nodes.has(nodeId)) continue;
      this.addNode(nodeId, undefined);
    }
  }

  /** A node that only calls others is no node of its service, but it can be called back: by its id. */
  private adoptCaller(id: string): RemoteNode | undefined {
    const channel = this.inbound.ofNode(id);
    if (this.closed || channel?.usable !== true || channel.peer.service !== this.service) return undefined;
    return this.addNode(id, undefined);
  }

  private addNode(id: string, record: NodeRecord | undefined): RemoteNode {
    const { service } = this;
    const node: RemoteNode = new RemoteNode({ id, service, record }, this.deps, {
      load: this.candidates.load,
      ejection: this.ejection,
      isNew: () => this.answered,
      channel: () => {
        const channel = this.inbound.ofNode(id);
        return channel?.peer.service === service ? channel : undefined;
      },
      isWanted: () => this.kept || this.candidates.wants(node),
      onChange: () => this.onChange(node),
    });
    this.nodes.set(id, node);
    this.candidates.add(node);
    return node;
  }

  /** Dials who is listed; who has failed or was lost is tried again by itself. */
  private connectAll(): void {
    const { nodeId } = this.deps.options;
    for (const node of this.nodes.values()) if (node.id !== nodeId && node.listed) node.keepConnected();
  }

  /** Something has changed about one node. */
  private onChange(node: RemoteNode): void {
    if (this.closed) return;
    this.idle.note(node);
    this.forgetIfGone(node);
    this.chooseAnew();
  }

  /** Something has changed: forget who is gone, choose among who is there, and serve who waits. */
  private refresh(): void {
    if (this.closed) return;
    for (const node of this.nodes.values()) this.forgetIfGone(node);
    this.adoptPortless();
    if (this.kept) this.connectAll();
    this.chooseAnew();
  }

  private forgetIfGone(node: RemoteNode): void {
    if (node.known) return;
    if (this.nodes.get(node.id) === node) {
      this.nodes.delete(node.id);
      this.candidates.delete(node);
    }
    this.deps.peers.forget(node.id);
    void node.close();
  }

  private chooseAnew(): void {
    this.candidates.refresh();
    if (this.candidates.isSubset) this.idle.check();
    if (this.waiters.size > 0 && !this.retryScheduled) {
      this.retryScheduled = true;
      queueMicrotask(() => this.retry());
    }
  }

  private retry(): void {
    this.retryScheduled = false;
    for (const waiter of [...this.waiters]) {
      if (this.waiters.has(waiter)) this.serve(waiter, this.pick(waiter.wish));
    }
  }

  private serve(waiter: Waiter, picked: RemoteNode | undefined): void {
    if (picked === undefined) {
      this.failIfHopeless(waiter);
      return;
    }
    if (!waiter.anyNode && picked.channel === undefined) picked.connectSoon();
    const node = waiter.anyNode ? picked : this.readyFor(waiter.wish, picked);
    if (node === undefined) return;
    this.waiters.delete(waiter);
    waiter.take(node, node.channel);
  }

  /** A node that is ready steps in for one that must still be dialled, unless it has to be that one. */
  private readyFor({ key, nodeId, accepts, avoid }: NodeWish, picked: RemoteNode): RemoteNode | undefined {
    if (picked.channel !== undefined) return picked;
    if (key !== undefined || nodeId !== undefined) return undefined;
    return this.candidates.connected(
      ({ id, record }) => avoid?.has(id) !== true && (accepts === undefined || accepts(record)),
    );
  }

  private failIfHopeless(waiter: Waiter): void {
    const refusal = commonRefusal(this.nodes.values(), waiter.wish.nodeId);
    if (refusal === undefined) return;
    this.waiters.delete(waiter);
    waiter.fail(refusal);
  }
}
