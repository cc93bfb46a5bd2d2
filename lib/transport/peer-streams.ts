/** How a packet channel comes by further streams with its peer: opened where this node dialled, wished for where it did not. */
import { randomUUID } from 'node:crypto';
import type { ClientSessionRequestOptions, Http2Stream, OutgoingHttpHeaders } from 'node:http2';
import { errorTrailers, readTrailers } from '../protocol/call-status.js';
import { CHANNEL_PATH, HEADER, TRAILER } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { OpenPacket } from '../protocol/packet.js';
import type { Session } from './session.js';
import type { AcceptedStream } from './stream-opening.js';
import type { StreamTaker } from './stream-tokens.js';

/** What `x-mesh-packet` says of a request or an event. */
export const REQUEST = 'request';

/** Who needs a stream; one of the two is called, unless it is forgotten before. */
export interface StreamUser {
  use(stream: Http2Stream): void;
  fail(error: MeshError): void;
}

/** What both ways have in common. */
export interface PeerStreams {
  /**
   * Opens a stream on which this node is the caller. Rejects with a `MeshError`: `not-sent` when there was no answer within
   * `timeoutMs`, else as the peer says.
   */
  open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream>;
  /**
   * Has a stream on which this side writes one packet: a request or an event, or the packet for which the token stands. Returns
   * the way to forget it, or `undefined` when the session gives no more streams. Throws a `MeshError` when it cannot be asked for.
   */
  offer(token: string | undefined, user: StreamUser): (() => void) | undefined;
  /** Has the stream on which the peer writes the packet for which the token stands. Returns the way to forget it. */
  fetch(token: string, user: StreamUser): () => void;
  /** The packet for which the token stands is not wanted. */
  discard(token: string): void;
  /** The channel is gone: what is not open yet fails. */
  close(reason: MeshError): void;
}

/** What is wished for. */
export interface StreamWish {
  readonly token: string;
  /** As the headers of the request would be that the peer cannot send. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Of the side that dialled: it opens streams for itself, and for its peer. */
export class DialledStreams implements PeerStreams {
  private readonly opening: OutgoingHttpHeaders;
  /** Streams that stand, or are being opened, because the peer has wished for them. */
  wished = 0;

  constructor(
    private readonly session: Session,
    /** Who this node is. */
    identity: OutgoingHttpHeaders,
  ) {
    this.opening = { ':method': 'POST', ':path': CHANNEL_PATH, ...identity };
  }

  open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    return this.session.open({ ...this.opening, ...headers }, timeoutMs);
  }

  /** Opens the stream that the peer wishes for: this node is the callee on it, whose end are its trailers. */
  fulfil(token: string, headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    return this.answer({ ...headers, [HEADER.open]: token }, timeoutMs, { waitForTrailers: true });
  }

  /** Says that the stream will not be opened, and why. Rejects when that cannot be said. */
  async refuse(token: string, error: MeshError, timeoutMs: number): Promise<void> {
    const headers = { [HEADER.open]: token, ...errorTrailers(error.toWire()) };
    const { stream } = await this.answer(headers, timeoutMs, { endStream: true });
    stream.on('error', ignore).resume();
  }

  private async answer(
    headers: OutgoingHttpHeaders,
    timeoutMs: number,
    options: ClientSessionRequestOptions,
  ): Promise<AcceptedStream> {
    this.wished += 1;
    try {
      const accepted = await this.session.open({ ...this.opening, ...headers }, timeoutMs, options);
      accepted.stream.once('close', () => (this.wished -= 1));
      return accepted;
    } catch (error) {
      this.wished -= 1;
      throw error;
    }
  }

  offer(token: string | undefined, user: StreamUser): (() => void) | undefined {
    if (!this.session.usable) return undefined;
    user.use(
      this.session.begin({ ...this.opening, [HEADER.packet]: token ?? REQUEST }, { endStream: false }),
    );
    return doNothing;
  }

  fetch(token: string, user: StreamUser): () => void {
    try {
      const stream = this.session.begin({ ...this.opening, [HEADER.open]: token }, { endStream: true });
      this.wished += 1;
      stream.once('close', () => (this.wished -= 1));
      user.use(stream);
    } catch (error) {
      user.fail(MeshError.from(error));
    }
    return doNothing;
  }

  discard(): void {
    // Nothing was opened for it.
  }

  close(): void {
    // Streams of their own outlive the packet channel, as call streams do.
  }
}

/** Of the side that was dialled: HTTP/2 lets it open nothing, so it says what it wishes for. */
export class WishedStreams implements PeerStreams {
  private readonly openings = new Set<(reason: MeshError) => void>();

  constructor(
    private readonly session: Session,
    /** Who this node is. */
    private readonly identity: OutgoingHttpHeaders,
    private readonly connectTimeoutMs: number,
    /** Sends the wish. Throws a `MeshError` when it cannot. */
    private readonly say: (packet: OpenPacket) => void,
  ) {}

  open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    return new Promise((resolve, reject) => {
      const token = randomUUID();
      const forget = this.expect(token, timeoutMs, {
        take: (stream, answer) => {
          const refused = answer[TRAILER.status] !== undefined;
          stream.respond({ ':status': 200, ...this.identity }, { endStream: refused });
          if (!refused) {
            resolve({ stream, headers: answer });
            return;
          }
          stream.resume();
          reject(refusalOf(answer));
        },
        fail: reject,
      });
      try {
        this.say({ open: token, headers });
      } catch (error) {
        forget();
        reject(MeshError.from(error, 'INTERNAL', { delivery: 'not-sent' }));
      }
    });
  }

  offer(given: string | undefined, user: StreamUser): () => void {
    const token = given ?? randomUUID();
    const forget = this.expect(token, this.connectTimeoutMs, {
      take: (stream) => {
        stream.respond({ ':status': 200, ...this.identity });
        user.use(stream);
      },
      fail: (error) => user.fail(error),
    });
    // The token of an answer is said in the place of its packet.
    if (given !== undefined) return forget;
    try {
      this.say({ open: token, headers: { [HEADER.packet]: REQUEST } });
    } catch (error) {
      forget();
      throw error;
    }
    return forget;
  }

  fetch(token: string, user: StreamUser): () => void {
    const { arrivals, address } = this.session;
    return arrivals.expect(token, this.connectTimeoutMs, {
      take: (stream) => {
        user.use(stream);
        // Only after it is read: Node ends a stream that has its answer and is not.
        stream.respond({ ':status': 200, ...this.identity }, { endStream: true });
      },
      expire: () => {
        const limit = `within ${this.connectTimeoutMs} ms (connectTimeoutMs)`;
        user.fail(notSent(`${address} did not send a large message on the stream that it spoke of ${limit}`));
      },
    });
  }

  discard(token: string): void {
    this.session.arrivals.discard(token);
  }

  close(reason: MeshError): void {
    for (const fail of [...this.openings]) fail(notSent(reason.rawMessage, reason));
  }

  private expect(
    token: string,
    timeoutMs: number,
    { take, fail: onFailure }: { take: StreamTaker['take']; fail: (error: MeshError) => void },
  ): () => void {
    const { tokens, address } = this.session;
    const fail = (reason: MeshError): void => {
      forget();
      onFailure(reason);
    };
    const forgetToken = tokens.expect(token, timeoutMs, {
      take: (stream, headers) => {
        this.openings.delete(fail);
        take(stream, headers);
      },
      expire: () => {
        const limit = `within ${timeoutMs} ms (connectTimeoutMs)`;
        fail(notSent(`${address} did not open the stream that it was asked for ${limit}`));
      },
    });
    const forget = (): void => {
      forgetToken();
      this.openings.delete(fail);
    };
    this.openings.add(fail);
    return forget;
  }
}

function refusalOf(answer: AcceptedStream['headers']): MeshError {
  const refusal = readTrailers(answer);
  if (refusal === undefined) return new MeshError('INTERNAL', 'the peer refused a stream with the status OK');
  const { err } = refusal;
  return MeshError.is(err)
    ? err
    : new MeshError('UNKNOWN', `the peer refused a stream: ${JSON.stringify(err)}`);
}

function notSent(message: string, cause?: MeshError): MeshError {
  return new MeshError('UNAVAILABLE', message, { delivery: 'not-sent', cause });
}

function ignore(): void {
  // Whatever becomes of a refusal, there is nobody else to tell.
}

function doNothing(): void {
  // What was opened is closed by its user.
}
