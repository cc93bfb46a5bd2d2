/**
 * Which nodes of a service calls are given to: the subset of those that the registry lists, and all that have dialled this
 * node to be called. Calls with a key choose among all nodes, so that every client finds the same one for it.
 */
import { ServiceLoad } from '../routing/node-load.js';
import type { Picker, PickerFactory, PickRequest } from '../routing/picker.js';
import { Ranking } from '../routing/ranking.js';
import type { RemoteNode } from './remote-node.js';

/** What a choice is made by. */
export interface CandidateOptions {
  /** The id of the node that chooses. */
  readonly nodeId: string;
  /** How many of the listed nodes calls without a key are spread over; `Infinity`: all. */
  readonly subsetSize: number;
  readonly picker: PickerFactory;
  /** How long a new node gets fewer calls, in ms; 0 = none. */
  readonly slowStartMs: number;
  /** Where the node that chooses stands; nodes of the same zone are wanted before others. */
  readonly zone: string | undefined;
}

/** Below this share of healthy nodes all are used: what is left could not carry the load, and would fail next. */
const PANIC_SHARE = 0.5;

export class Candidates {
  /** The calls that are open at all of them. */
  readonly load: ServiceLoad<RemoteNode>;
  private readonly ranking: Ranking<RemoteNode>;
  /** Nodes that the registry does not list. They have chosen this node to be called by, so they are not chosen from. */
  private readonly portless = new Set<RemoteNode>();
  private members: readonly RemoteNode[] = [];
  private memberSet: ReadonlySet<RemoteNode> = new Set();
  /** The members that may be given a call because they have just answered, and what they weigh together. */
  private followers: ReadonlySet<RemoteNode> = new Set();
  private followersWeight = 0;
  /** A member that waits for the one call which tries it. */
  private trial: RemoteNode | undefined;
  private picker: Picker<RemoteNode>;
  /** Of all nodes; made for the first call with a key. */
  private keyed: { readonly among: readonly RemoteNode[]; readonly picker: Picker<RemoteNode> } | undefined;
  private keyedIsOld = false;
  private allWanted = false;

  constructor(private readonly options: CandidateOptions) {
    this.load = new ServiceLoad(options.slowStartMs);
    this.ranking = new Ranking(options.nodeId);
    this.picker = options.picker<RemoteNode>([], undefined);
  }

  /** True when some of the listed nodes are left out. */
  get isSubset(): boolean {
    return this.ranking.size > this.limit;
  }

  /** Takes in a node that is not there yet. It counts from the next {@link refresh} on. */
  add(node: RemoteNode): void {
    if (node.record === undefined) this.portless.add(node);
    else this.ranking.add(node);
  }

  /** The registry lists a node that is there already. */
  list(node: RemoteNode): void {
    if (this.portless.delete(node)) this.ranking.add(node);
  }

  /** Takes a node out. It counts until the next {@link refresh}. */
  delete(node: RemoteNode): void {
    if (!this.portless.delete(node)) this.ranking.delete(node);
  }

  /** Calls are spread over all nodes, whatever their number, or over the subset. It counts from the next {@link refresh} on. */
  wantAll(all: boolean): void {
    this.allWanted = all;
  }

  /** Something has changed that nodes are chosen by. */
  refresh(): void {
    const members = this.chosen();
    this.keyedIsOld = true;
    this.trial = members.find(({ health, channel }) => health.wantsTrial && channel !== undefined);
    this.follow(members);
    if (sameNodes(members, this.members)) return;
    this.members = members;
    this.memberSet = new Set(members);
    this.picker = this.options.picker(members, this.picker);
  }

  /** The node whose turn it is. */
  pick(request: PickRequest): RemoteNode | undefined {
    return request.key !== undefined && this.isSubset ? this.pickByKey(request) : this.picker.pick(request);
  }

  /**
   * The node for a call without a wish: one that is to be tried again, since by what is known of it no picker would choose it. With
   * many calls under way, the one that has just answered takes the next, as long as it has less than its share of all that is open: so
   * calls which were answered together are followed by calls that leave together, and are read together, which costs half of what it
   * costs one by one.
   */
  pickForCall(request: PickRequest): RemoteNode | undefined {
    if (this.trial !== undefined) return this.trial;
    const { answered, open } = this.load;
    if (
      answered !== undefined &&
      answered.load.open * this.followersWeight < open * answered.weight &&
      this.followers.has(answered)
    )
      return answered;
    return this.picker.pick(request);
  }

  /** The next in turn for which `accepts` holds, else any such node; the picker knows nothing of such wishes. */
  pickAccepted(request: PickRequest, accepts: (node: RemoteNode) => boolean): RemoteNode | undefined {
    for (const _ of this.members) {
      const node = this.picker.pick(request);
      if (node !== undefined && accepts(node)) return node;
    }
    return this.anyOf((node) => node.health.admits && accepts(node)) ?? this.anyOf(accepts);
  }

  /** A node to which nothing need be dialled. */
  connected(accepts: (node: RemoteNode) => boolean): RemoteNode | undefined {
    return this.members.find((node) => node.channel !== undefined && accepts(node));
  }

  /** True when a node that cannot be reached would be given calls if it could: then it is tried again in the background. */
  wants(node: RemoteNode): boolean {
    if (this.keyed !== undefined) return true;
    const last = this.members[this.limit - 1];
    return last === undefined || this.portless.has(last) || this.ranking.prefers(node, last);
  }

  /** True when calls without a wish are given to it. */
  has(node: RemoteNode): boolean {
    return this.memberSet.has(node);
  }

  /** With a zone, only nodes of that zone follow their own answers; others get what the picker gives them. */
  private follow(members: readonly RemoteNode[]): void {
    const { zone } = this.options;
    const near = zone === undefined ? members : members.filter((node) => node.zone === zone);
    const followers = near.length === 0 ? members : near;
    this.followersWeight = followers.reduce((sum, { weight }) => sum + weight, 0);
    this.followers = new Set(followers);
  }

  private anyOf(accepts: (node: RemoteNode) => boolean): RemoteNode | undefined {
    for (const node of this.ranking) if (node.available && accepts(node)) return node;
    for (const node of this.portless) if (node.isMember && node.available && accepts(node)) return node;
    return undefined;
  }

  /**
   * Those that calls are spread over. Nodes that are left out for their health count again when too few others remain: a service that
   * fails as a whole is asked as a whole ("panic threshold" of Envoy).
   */
  private chosen(): RemoteNode[] {
    return this.healthy((accepts) => this.wanted(accepts));
  }

  private healthy(choose: (accepts: (node: RemoteNode) => boolean) => RemoteNode[]): RemoteNode[] {
    const reachable = choose((node) => node.available);
    const healthy = reachable.filter(({ health }) => health.admits);
    if (healthy.length === reachable.length) return reachable;
    const isPanic = healthy.length < PANIC_SHARE * reachable.length;
    // Others take the places of those that are left out.
    return isPanic ? reachable : choose((node) => node.available && node.health.admits);
  }

  private wanted(accepts: (node: RemoteNode) => boolean): RemoteNode[] {
    const { zone } = this.options;
    const nodes =
      zone === undefined
        ? this.ranking.first(this.limit, accepts)
        : this.ranking.first(this.limit, (node) => node.zone === zone && accepts(node));
    if (zone !== undefined && nodes.length < this.limit)
      nodes.push(
        ...this.ranking.first(this.limit - nodes.length, (node) => node.zone !== zone && accepts(node)),
      );
    for (const node of this.portless) if (node.isMember && accepts(node)) nodes.push(node);
    return nodes;
  }

  private get limit(): number {
    return this.allWanted ? Infinity : this.options.subsetSize;
  }

  private pickByKey(request: PickRequest): RemoteNode | undefined {
    if (this.keyedIsOld || this.keyed === undefined) {
      this.keyedIsOld = false;
      const among = this.healthy((accepts) => {
        const nodes = this.ranking.first(Infinity, accepts);
        for (const node of this.portless) if (node.isMember && accepts(node)) nodes.push(node);
        return nodes;
      });
      if (this.keyed === undefined || !sameNodes(among, this.keyed.among))
        this.keyed = { among, picker: this.options.picker(among, this.keyed?.picker) };
    }
    return this.keyed.picker.pick(request);
  }
}

function sameNodes(left: readonly RemoteNode[], right: readonly RemoteNode[]): boolean {
  return left.length === right.length && left.every((node, at) => node === right[at]);
}
