/** How a packet channel comes by further streams with its peer: opened where this node dialled, wished for where it did not. */
import { randomUUID } from 'node:crypto';
import type { ClientSessionRequestOptions, OutgoingHttpHeaders } from 'node:http2';
import { errorTrailers, readTrailers } from '../protocol/call-status.js';
import { CHANNEL_PATH, HEADER, TRAILER } from '../protocol/headers.js';
import { MeshError } from '../protocol/mesh-error.js';
import type { OpenPacket } from '../protocol/packet.js';
import type { Session } from './session.js';
import type { AcceptedStream } from './stream-opening.js';

/** What both ways have in common. */
export interface PeerStreams {
  /**
   * Opens a stream on which this node is the caller. Rejects with a `MeshError`: `not-sent` when there was no answer within
   * `timeoutMs`, else as the peer says.
   */
  open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream>;
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
    /** Sends the wish. Throws a `MeshError` when it cannot. */
    private readonly say: (packet: OpenPacket) => void,
  ) {}

  async open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    const token = randomUUID();
    const { tokens, address } = this.session;
    return new Promise((resolve, reject) => {
      const fail = (reason: MeshError): void => {
        forget();
        this.openings.delete(fail);
        reject(reason);
      };
      const forget = tokens.expect(token, timeoutMs, {
        take: (stream, answer) => {
          this.openings.delete(fail);
          const refused = answer[TRAILER.status] !== undefined;
          stream.respond({ ':status': 200, ...this.identity }, { endStream: refused });
          if (!refused) {
            resolve({ stream, headers: answer });
            return;
          }
          stream.resume();
          reject(refusalOf(answer));
        },
        expire: () => {
          const limit = `within ${timeoutMs} ms (connectTimeoutMs)`;
          fail(notSent(`${address} did not open the stream that it was asked for ${limit}`));
        },
      });
      this.openings.add(fail);
      try {
        this.say({ open: token, headers });
      } catch (error) {
        fail(MeshError.from(error, 'INTERNAL', { delivery: 'not-sent' }));
      }
    });
  }

  close(reason: MeshError): void {
    for (const fail of [...this.openings]) fail(notSent(reason.rawMessage, reason));
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
