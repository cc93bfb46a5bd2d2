/** A connection in memory: two Duplex streams that node:http2 takes for the two ends of a socket. */
import { Duplex } from 'node:stream';
import { Flow, type FlowFaults } from './flow.js';

/** The faults of a wire, now: they are asked for whenever something is to pass. */
export interface WireFaults {
  /** From the side that dialled. */
  readonly forth: () => FlowFaults;
  /** To the side that dialled. */
  readonly back: () => FlowFaults;
}

export class Wire {
  /** The end of the side that dialled. */
  readonly near: Duplex;
  /** The end of the side that listens; it gets it when the opening arrives. */
  readonly far: Duplex;
  /** True once the listening side has its end. */
  accepted = false;
  private readonly forth: Flow;
  private readonly back: Flow;

  /** `arrive` is called where the connection is opened to; `gone` once nothing is left of it. */
  constructor(faults: WireFaults, arrive: () => void, gone: () => void) {
    this.forth = new Flow(faults.forth, (bytes) => this.far.push(bytes));
    this.back = new Flow(faults.back, (bytes) => this.near.push(bytes));
    this.near = new WireEnd(this.forth, this.back, () => endOf(this.far));
    this.far = new WireEnd(this.back, this.forth, () => endOf(this.near));
    this.forth.signal(arrive);
    const closed = (): void => {
      // What was never accepted is gone with the side that dialled.
      if (this.near.destroyed && (this.far.destroyed || !this.accepted)) gone();
    };
    this.near.once('close', closed);
    this.far.once('close', closed);
  }

  /** The faults have changed. */
  refresh(): void {
    this.forth.refresh();
    this.back.refresh();
  }

  /** Breaks it on both sides at once; resolves when both ends have closed. */
  cut(error: Error): Promise<unknown> {
    this.forth.close();
    this.back.close();
    return Promise.all([destroy(this.near, error), destroy(this.far, error)]);
  }
}

/** Resolves when the end has closed. */
function destroy(end: Duplex, error: Error): Promise<void> {
  if (end.closed) return Promise.resolve();
  return new Promise((resolve) => {
    end.once('close', resolve).destroy(error);
  });
}

class WireEnd extends Duplex {
  private endSent = false;

  constructor(
    private readonly outgoing: Flow,
    private readonly incoming: Flow,
    private readonly endPeer: () => void,
  ) {
    super({ allowHalfOpen: true });
    // An end that nobody has yet must not take the process down.
    this.on('error', () => undefined);
  }

  override _read(): void {
    this.incoming.pull();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.outgoing.write(bytes, done);
  }

  override _final(done: () => void): void {
    this.sendEnd();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.sendEnd();
    this.incoming.close();
    done(error);
  }

  private sendEnd(): void {
    if (this.endSent) return;
    this.endSent = true;
    this.outgoing.signal(this.endPeer);
  }
}

function endOf(end: Duplex): void {
  if (!end.destroyed) end.push(null);
}
