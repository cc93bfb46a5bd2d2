/** The answer of a handler that gives an Observable. */
import type { Observable, Observer, Subscription } from 'rxjs';
import type { InboundCall } from '../transport/inbound-call.js';
import { isStream, pump, type Stream } from './iterable-reply.js';
import type { Peer } from '../transport/peer.js';
import { attempt, failFiltered, failUnfiltered, type Answering, type ReplyLogger } from './reply-errors.js';

/**
 * A value is held until the next one, the end, or the end of the turn, so that the last value and the end share a packet
 * where they come together (every unary answer behind an interceptor).
 */
export class ObservableReply implements Observer<unknown>, Answering {
  private subscription: Subscription | undefined;
  private held: unknown;
  private isHeld = false;
  private finished = false;
  /** Iterables among the values are unrolled in their place; what comes after them waits. */
  private tail: Promise<void> | undefined;

  constructor(
    readonly call: InboundCall,
    readonly peer: Peer,
    private readonly done: () => void,
    readonly logger: ReplyLogger,
  ) {}

  run(source: Observable<unknown>): void {
    if (!this.call.open) {
      // The caller left while the handler was on its way to this Observable: nobody would ever unsubscribe from it.
      this.finish();
      return;
    }
    this.call.onCancel = () => this.stop();
    const subscription = source.subscribe(this);
    if (this.finished) subscription.unsubscribe();
    else this.subscription = subscription;
  }

  readonly next = (value: unknown): void => {
    if (this.finished) return;
    if (this.tail !== undefined || isStream(value)) {
      this.after(async () => (isStream(value) ? this.unroll(value) : this.send(value)));
      return;
    }
    if (this.isHeld) this.flush();
    else process.nextTick(this.flush);
    this.held = value;
    this.isHeld = true;
  };

  readonly error = (error: unknown): void => {
    const fail = (): void => this.end(() => failFiltered(this, error));
    if (this.tail !== undefined) this.after(fail);
    else {
      this.flush();
      fail();
    }
  };

  readonly complete = (): void => {
    if (this.tail !== undefined) this.after(() => this.end(() => this.call.complete()));
    else if (this.isHeld) {
      this.isHeld = false;
      this.end(() => this.call.respond(this.held));
    } else this.end(() => this.call.complete());
  };

  private after(step: () => void | Promise<void>): void {
    this.flush();
    this.tail = (this.tail ?? Promise.resolve()).then(step).catch((error: unknown) => {
      if (this.finished) return;
      this.subscription?.unsubscribe();
      this.end(() => failUnfiltered(this, error));
    });
  }

  private async unroll(stream: Stream): Promise<void> {
    await pump(this, stream);
    if (!this.call.open) this.stop();
  }

  private readonly flush = (): void => {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.send(this.held);
  };

  private send(value: unknown): void {
    if (this.finished) return;
    if (!attempt(this, () => this.call.next(value))) this.stop();
  }

  private stop(): void {
    this.subscription?.unsubscribe();
    this.finish();
  }

  private end(step: () => void): void {
    if (this.finished) return;
    attempt(this, step);
    this.finish();
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.isHeld = false;
    this.done();
  }
}
