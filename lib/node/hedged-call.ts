/**
 * Hedging: a call that has no answer after a while is made a second time, on another node, and the first answer counts; the other call is
 * cancelled. It cuts the slowest answers for a few calls more, and is only for calls that may run twice.
 *
 * Sources: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013; gRFC A6 ("Hedging Policy").
 */
import type { MeshError } from '../protocol/mesh-error.js';
import type { ResponsePacket } from '../protocol/packet.js';
import type { CallObserver, OutboundCall } from '../transport/outbound-call.js';

/** A call that is under way. */
export interface RunningCall {
  /** The caller no longer wants the answer: nothing more is told. */
  cancel(): void;
  /** Ends the call with an error; `tellPeer` cancels it at the peer. */
  fail(error: MeshError, tellPeer?: boolean): void;
}

/** Makes one of the two calls; `avoid` is the node that has the other. */
export type MakeCall = (observer: CallObserver, avoid: string | undefined) => OutboundCall;

export class HedgedCall implements RunningCall {
  private readonly calls: OutboundCall[] = [];
  private winner: OutboundCall | undefined;
  private over = false;
  private timer: NodeJS.Timeout;

  /** `mayHedge` is asked when the second call is due. */
  constructor(
    private readonly make: MakeCall,
    private readonly observer: CallObserver,
    private readonly afterMs: number,
    private readonly mayHedge: () => boolean,
  ) {
    this.timer = this.hedgeLater();
    this.begin(undefined);
  }

  cancel(): void {
    this.end();
    for (const call of this.calls) call.cancel();
  }

  fail(error: MeshError): void {
    if (this.over) return;
    this.cancel();
    this.observer.onFailure(error);
  }

  private hedgeLater(): NodeJS.Timeout {
    return setTimeout(() => this.hedge(), this.afterMs);
  }

  private hedge(): void {
    const [first] = this.calls;
    if (this.over || this.winner !== undefined || first?.open !== true) return;
    const nodeId = first.carrier?.peerNodeId;
    // While the first waits for a node, the second would do so as well.
    if (nodeId === undefined) this.timer = this.hedgeLater();
    else if (this.mayHedge()) this.begin(nodeId);
  }

  private begin(avoid: string | undefined): void {
    const at = this.calls.length;
    let failed = false;
    const call = this.make(
      {
        onPacket: (packet) => this.onPacket(at, packet),
        onFailure: (error) => {
          failed = true;
          this.onFailure(error);
        },
      },
      avoid,
    );
    // One that fails at once has told so already.
    if (!failed || this.over) this.calls.push(call);
  }

  private onPacket(at: number, packet: ResponsePacket): void {
    if (this.over) return;
    const call = this.calls[at];
    if (this.winner === undefined) {
      this.winner = call;
      clearTimeout(this.timer);
      for (const other of this.calls) if (other !== call) other.cancel();
    }
    if (packet.isDisposed === true || packet.err) this.end();
    this.observer.onPacket(packet);
  }

  private onFailure(error: MeshError): void {
    // The other one may still be answered.
    if (this.over || this.calls.some(({ open }) => open)) return;
    this.end();
    this.observer.onFailure(error);
  }

  private end(): void {
    this.over = true;
    clearTimeout(this.timer);
  }
}
