/** A session: one HTTP/2 connection with a peer, whichever side dialled. */
import {
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { MeshError } from '../protocol/mesh-error.js';
import { keepAlive, type KeepAliveOptions } from './keep-alive.js';
import { brokenError, resetError, statusError } from './node-errors.js';

/** A stream that the peer has accepted, with what it said. */
export interface AcceptedStream {
  readonly stream: ClientHttp2Stream;
  readonly headers: IncomingHttpHeaders;
}

const MAX_ERROR_BODY_BYTES = 1_024;

export class Session {
  private failure: MeshError | undefined;
  private readonly closeListeners = new Set<(error: MeshError) => void>();

  constructor(
    private readonly http2: Http2Session,
    /** `host:port` of the other end. */
    readonly address: string,
    keepAliveOptions: KeepAliveOptions,
  ) {
    http2.on('error', (error) => {
      this.failure ??= brokenError(error, this.name);
    });
    http2.once('close', () => {
      const error = this.failure ?? brokenError(undefined, this.name);
      const listeners = [...this.closeListeners];
      this.closeListeners.clear();
      for (const listener of listeners) listener(error);
    });
    keepAlive(http2, keepAliveOptions, (error) => this.destroy(error));
  }

  private get name(): string {
    return `the session with ${this.address}`;
  }

  /** True while new streams can be opened on it. */
  get usable(): boolean {
    return !this.http2.closed && !this.http2.destroyed;
  }

  /** True until the connection is gone. */
  get alive(): boolean {
    return !this.http2.destroyed;
  }

  /** `listener` is told once why the session ended; returns the way to stop that. */
  onClose(listener: (error: MeshError) => void): () => void {
    this.closeListeners.add(listener);
    return () => this.closeListeners.delete(listener);
  }

  /**
   * Opens a stream and waits for the peer's answer. Rejects with a `MeshError`: `refused` when the peer answered something
   * else than 200, `not-sent` when it did not answer (within `timeoutMs`), since no frame was sent yet.
   */
  open(headers: OutgoingHttpHeaders, timeoutMs: number): Promise<AcceptedStream> {
    return new Promise((resolve, reject) => {
      const path = String(headers[':path']);
      let stream: ClientHttp2Stream;
      try {
        stream = (this.http2 as ClientHttp2Session).request(headers, { endStream: false });
      } catch (error) {
        reject(brokenError(error, this.name, 'not-sent'));
        return;
      }
      const timer = setTimeout(() => {
        stream.close(constants.NGHTTP2_CANCEL);
        settle(
          new MeshError(
            'UNAVAILABLE',
            `${this.address} did not answer ${path} within ${timeoutMs} ms (connectTimeoutMs)`,
            {
              delivery: 'not-sent',
            },
          ),
        );
      }, timeoutMs);
      const onError = (error: unknown): void => settle(brokenError(error, this.name, 'not-sent'));
      const onClose = (): void => {
        const reset = this.alive
          ? resetError(stream.rstCode ?? 0, `${path} at ${this.address}`)
          : this.failure;
        settle(
          (reset ?? brokenError(undefined, this.name)).withDelivery(
            reset?.delivery === 'refused' ? 'refused' : 'not-sent',
          ),
        );
      };
      const settle = (outcome: AcceptedStream | MeshError): void => {
        clearTimeout(timer);
        stream.off('close', onClose).off('response', onResponse).off('error', onError);
        if (outcome instanceof MeshError) {
          stream.on('error', ignore);
          reject(outcome);
        } else resolve(outcome);
      };
      const onResponse = (answer: IncomingHttpHeaders & { ':status'?: number }): void => {
        const status = Number(answer[':status']);
        if (status === 200) settle({ stream, headers: answer });
        else this.readRefusal(stream, status, path, settle);
      };
      stream.once('error', onError).once('close', onClose).once('response', onResponse);
    });
  }

  /** Ends the session once its streams have ended (GOAWAY). Resolves when it is gone. */
  close(): Promise<void> {
    if (this.http2.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.http2.once('close', resolve);
      if (!this.http2.closed) this.http2.close();
    });
  }

  /** {@link close}, or {@link destroy} when that takes longer than `limitMs`. */
  async closeWithin(limitMs: number): Promise<void> {
    const timer = setTimeout(() => this.destroy(), limitMs);
    await this.close();
    clearTimeout(timer);
  }

  /** Ends the session at once. */
  destroy(error?: MeshError): void {
    this.failure ??= error;
    if (!this.http2.destroyed) this.http2.destroy();
  }

  private readRefusal(
    stream: ClientHttp2Stream,
    status: number,
    path: string,
    settle: (outcome: MeshError) => void,
  ): void {
    let body = '';
    const finish = (): void => settle(statusError(status, this.address, path, body));
    stream.on('data', (chunk: Buffer) => {
      if (body.length < MAX_ERROR_BODY_BYTES) body += chunk.toString('utf8');
      else finish();
    });
    stream.once('end', finish).once('aborted', finish);
    stream.end();
  }
}

function ignore(): void {
  // The outcome was told already.
}
