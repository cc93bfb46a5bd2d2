/** A session: one HTTP/2 connection with a peer, whichever side dialled. */
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  Http2Session,
  OutgoingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { MeshError } from '../protocol/mesh-error.js';
import { headerListFault } from './header-list.js';
import { keepAlive, type KeepAliveOptions } from './keep-alive.js';
import { brokenError } from './node-errors.js';
import { StreamOpening, type AcceptedStream } from './stream-opening.js';
import { StreamArrivals, StreamTokens } from './stream-tokens.js';

export class Session {
  /** The streams that the peer was asked to open. */
  readonly tokens = new StreamTokens();
  /** The streams that the peer has said it opens. */
  readonly arrivals = new StreamArrivals();
  private failure: MeshError | undefined;
  private readonly closeListeners = new Set<(error: MeshError) => void>();

  constructor(
    private readonly http2: Http2Session,
    /** `host:port` of the other end. */
    readonly address: string,
    keepAliveOptions: KeepAliveOptions,
    /** The connection itself. */
    private readonly socket: Duplex | undefined,
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
   * else than 200, `not-sent` when it did not answer (within `timeoutMs`), since no frame was sent yet, or when the headers are
   * larger than the peer takes (`RESOURCE_EXHAUSTED`).
   */
  async open(
    headers: OutgoingHttpHeaders,
    timeoutMs: number,
    options: ClientSessionRequestOptions = {},
  ): Promise<AcceptedStream> {
    const fault = headerListFault(headers, this.http2.remoteSettings ?? {}, this.address);
    if (fault !== undefined) throw fault;
    let opening: StreamOpening;
    try {
      const lost = (): MeshError | undefined =>
        this.alive ? undefined : (this.failure ?? brokenError(undefined, this.name));
      opening = new StreamOpening(this.http2 as ClientHttp2Session, headers, {
        address: this.address,
        timeoutMs,
        lost,
        request: options,
      });
    } catch (error) {
      throw brokenError(error, this.name, 'not-sent');
    }
    return opening.result;
  }

  /** Opens a stream without waiting for the answer. Throws a `MeshError` (`not-sent`) when the session takes none. */
  begin(headers: OutgoingHttpHeaders, options: ClientSessionRequestOptions): ClientHttp2Stream {
    try {
      return (this.http2 as ClientHttp2Session).request(headers, options);
    } catch (error) {
      throw brokenError(error, this.name, 'not-sent');
    }
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
    if (this.http2.destroyed) return;
    this.http2.destroy(error);
    // node:http2 waits for the write that is under way, which a peer that does not read would make for ever. What can leave
    // (GOAWAY) leaves before.
    setImmediate(() => this.socket?.destroy());
  }
}
