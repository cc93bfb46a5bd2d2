/** Makes calls of one service again that have failed: on another node, within their time, and within what the budget allows. */
import type { MeshError } from '../protocol/mesh-error.js';
import { RetryBudget, type RetryBudgetOptions } from '../routing/retry-budget.js';
import { retryDelayMs, type RetryOptions } from '../routing/retry.js';
import type { NodeWish } from './waiter.js';
import type { CallCarrier, CallRecovery, CallRequest, OutboundCall } from '../transport/outbound-call.js';

/** What the recovery needs of the directory that it belongs to. */
export interface CallRecoveryHost {
  /** True when calls of the route may run twice, as the nodes of the service have announced. */
  isIdempotent(route: string): boolean;
  /** The node of the error takes nothing new for now. */
  passOver(error: MeshError): void;
  /** Gives the call to a node. */
  placeAgain(call: OutboundCall, wish: NodeWish): void;
  /** False once nothing more is to be sent. */
  readonly isOpen: boolean;
}

export class DirectoryRecovery implements CallRecovery {
  private readonly budget: RetryBudget;
  private readonly resting = new Set<Rest>();

  constructor(
    private readonly host: CallRecoveryHost,
    private readonly retry: RetryOptions,
    budget: RetryBudgetOptions,
  ) {
    this.budget = new RetryBudget(budget);
  }

  /** A call is made for the first time: it is looked after from here on. */
  attend(call: OutboundCall, wish: NodeWish): void {
    call.recovery = this;
    call.wish = wish;
    this.budget.deposit();
  }

  /** True when a call may be made a second time before the first has ended. */
  mayHedge({ route, idempotent }: CallRequest): boolean {
    return (idempotent ?? this.host.isIdempotent(route)) && this.budget.withdraw();
  }

  recover(call: OutboundCall, error: MeshError): boolean {
    const { host } = this;
    const { retry, idempotent, route } = call.request;
    const attempts = call.attempts?.count ?? 1;
    const delayMs = retryDelayMs(retry === undefined ? this.retry : { ...this.retry, ...retry }, {
      error,
      attempts,
      leftMs: call.remainingMs(),
      idempotent: () => idempotent ?? host.isIdempotent(route),
    });
    if (!host.isOpen || delayMs === undefined || !this.budget.withdraw()) return false;
    call.attempts ??= { count: 1, nodes: new Set() };
    call.attempts.count += 1;
    if (error.nodeId !== undefined) call.attempts.nodes.add(error.nodeId);
    // It shuts down, and its drain may still be on its way.
    if (error.delivery === 'refused' && error.code === 'UNAVAILABLE') host.passOver(error);
    call.detach(error);
    const wish = { ...(call.wish as NodeWish), avoid: call.attempts.nodes };
    this.resting.add(new Rest(call, error, delayMs, this.resting, () => host.placeAgain(call, wish)));
    return true;
  }

  /** Ends the calls that are between two attempts: nothing more is sent. */
  close(): void {
    for (const { call, error } of this.resting) call.fail(error);
  }
}

/** A call between two attempts; while it waits, this is its carrier. */
class Rest implements CallCarrier {
  readonly peerNodeId: string | undefined;
  private readonly timer: NodeJS.Timeout;

  constructor(
    readonly call: OutboundCall,
    /** How the last attempt ended. */
    readonly error: MeshError,
    delayMs: number,
    private readonly resting: Set<Rest>,
    go: () => void,
  ) {
    this.peerNodeId = error.nodeId;
    call.waited = true;
    call.carrier = this;
    call.describeWait = () => `the last attempt ended with: ${error.message}`;
    this.timer = setTimeout(() => {
      resting.delete(this);
      go();
    }, delayMs);
  }

  release(): void {
    this.resting.delete(this);
    clearTimeout(this.timer);
  }

  wasSent(): boolean {
    return false;
  }
}
