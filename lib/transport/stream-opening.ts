/** Opening a stream: a request, and the peer's answer to it within a time limit. */
import {
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  type Http2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { MeshError } from '../protocol/mesh-error.js';
import { brokenError, resetError, statusError } from './node-errors.js';

/** A stream that the peer has accepted, with what it said. */
export interface AcceptedStream {
  readonly stream: Http2Stream;
  readonly headers: IncomingHttpHeaders;
}

/** What an attempt needs to know beside its headers. */
export interface StreamOpeningOptions {
  /** `host:port` of the peer. */
  readonly address: string;
  /** How long the peer may take to answer, in ms. */
  readonly timeoutMs: number;
  /** Tells why the session is gone, once it is. */
  readonly lost: () => MeshError | undefined;
  readonly request: ClientSessionRequestOptions;
}

/** How much of what a peer says about a refusal is read. */
const MAX_ERROR_BODY_BYTES = 1_024;

/** One attempt; it settles exactly once. */
export class StreamOpening {
  /** See `Session.open`. */
  readonly result: Promise<AcceptedStream>;
  private resolve: (accepted: AcceptedStream) => void = () => undefined;
  private reject: (error: MeshError) => void = () => undefined;
  private readonly stream: ClientHttp2Stream;
  private readonly path: string;
  private readonly timer: NodeJS.Timeout;
  private status: number | undefined;
  private body = '';

  /** Throws what Node throws for a session that takes no streams. */
  constructor(
    http2: ClientHttp2Session,
    headers: OutgoingHttpHeaders,
    private readonly options: StreamOpeningOptions,
  ) {
    this.path = String(headers[':path']);
    this.stream = http2.request(headers, { endStream: false, ...options.request });
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.timer = setTimeout(this.onTimeout, options.timeoutMs);
    this.stream.on('error', ignore).once('close', this.onClose).once('response', this.onResponse);
  }

  private readonly onResponse = (headers: IncomingHttpHeaders & { ':status'?: number }): void => {
    const status = Number(headers[':status']);
    if (status === 200) {
      this.stop();
      this.stream.off('error', ignore);
      this.resolve({ stream: this.stream, headers });
      return;
    }
    this.status = status;
    this.stream.on('data', this.onRefusalData).once('end', this.fail);
    this.stream.end();
  };

  private readonly onRefusalData = (chunk: Buffer): void => {
    this.body += chunk.toString('utf8');
    if (this.body.length >= MAX_ERROR_BODY_BYTES) this.fail();
  };

  private readonly onTimeout = (): void => {
    if (this.status !== undefined) this.fail();
    else {
      const { address, timeoutMs } = this.options;
      const limit = `within ${timeoutMs} ms (connectTimeoutMs)`;
      this.fail(unavailable(`${address} did not answer ${this.path} ${limit}`));
    }
  };

  private readonly onClose = (): void => {
    if (this.status !== undefined) {
      this.fail();
      return;
    }
    const what = `${this.path} at ${this.options.address}`;
    const reason =
      this.options.lost() ??
      resetError(this.stream.rstCode ?? constants.NGHTTP2_NO_ERROR, what) ??
      brokenError(undefined, what);
    // Whatever the peer says by a reset, it did not take the stream: another node may.
    this.fail(unavailable(reason.rawMessage, reason));
  };

  private readonly fail = (error?: MeshError): void => {
    this.stop();
    this.stream.off('data', this.onRefusalData).off('end', this.fail);
    if (!this.stream.closed) this.stream.close(constants.NGHTTP2_CANCEL);
    this.reject(error ?? statusError(this.status ?? 0, this.options.address, this.path, this.body));
  };

  private stop(): void {
    clearTimeout(this.timer);
    this.stream.off('close', this.onClose).off('response', this.onResponse);
  }
}

function unavailable(message: string, cause?: MeshError): MeshError {
  const delivery = cause?.delivery === 'refused' ? 'refused' : 'not-sent';
  return new MeshError('UNAVAILABLE', message, { delivery, cause });
}

function ignore(): void {
  // 'close' follows, and tells more.
}
