/** A raw channel as users of Nest meet it. */
import { Observable } from 'rxjs';
import type { ChannelOpening } from '../node/handlers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { Metadata } from '../protocol/packet.js';
import type { Peer } from '../transport/peer.js';
import type { RawChannel } from '../transport/raw-channel.js';

/** Any JSON values, both ways at once, over a stream of their own. `In` arrives, `Out` is sent. */
export class MeshChannel<In = unknown, Out = unknown> implements AsyncIterable<In> {
  /** The name it was asked for; `undefined` for the default channel. */
  readonly name: string | undefined;
  /** The same on both sides. */
  readonly sessionId: string;
  /** The headers of the other side that are not the mesh's own. */
  readonly metadata: Metadata;
  readonly peer: Peer;

  constructor(
    private readonly raw: RawChannel<In, Out>,
    opening: ChannelOpening,
  ) {
    this.name = opening.name;
    this.sessionId = opening.sessionId;
    this.metadata = opening.metadata;
    this.peer = opening.peer;
  }

  /**
   * Sends one value. Await it to keep to the pace of the peer: it resolves at once while the peer keeps up, and when it has
   * caught up otherwise. Rejects with a `MeshError` when the value cannot be sent. A sender that does not wait is told by
   * `whenClosed` that the channel is gone; one that runs too far ahead of the peer breaks the channel.
   */
  send(value: Out): Promise<void> {
    const { raw } = this;
    const sent = raw.send(value);
    // Without this, a peer that leaves or does not read could end the process of a sender that does not wait.
    if (!raw.writable || raw.congested) sent.catch((error: unknown) => raw.close(MeshError.from(error)));
    return sent;
  }

  /** True while the peer is behind. */
  get congested(): boolean {
    return this.raw.congested;
  }

  /** Half-close: says that nothing more will be sent. The peer may go on. */
  end(): void {
    this.raw.end();
  }

  /** Ends both ways. */
  close(): void {
    this.raw.close();
  }

  /** Resolves when the channel is gone, with the error when it did not end in order. Never rejects. */
  get whenClosed(): Promise<Error | undefined> {
    return this.raw.whenClosed;
  }

  /** What arrives, until the peer ends its half. Leaving the loop early closes the channel. */
  [Symbol.asyncIterator](): AsyncIterator<In, undefined> {
    return this.raw[Symbol.asyncIterator]();
  }

  /**
   * What arrives, as an Observable: completes when the peer ends its half, errors when the channel breaks. A channel has one
   * reader: values go to one subscription or one loop. Unsubscribing stops reading, and the peer is held back.
   */
  readonly values$: Observable<In> = new Observable<In>((subscriber) => {
    const read = (): void => {
      this.raw.next().then(
        (result) => {
          if (result.done === true) subscriber.complete();
          else {
            subscriber.next(result.value);
            if (!subscriber.closed) read();
          }
        },
        (error: unknown) => subscriber.error(error),
      );
    };
    read();
  });
}
