/** Listening: accepts sessions and streams, refuses what is no channel with an answer that a person can read. */
import {
  constants,
  createSecureServer,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { MeshErrorCode } from '../protocol/error-code.js';
import { CHANNEL_PATH, HEADER, headerOf } from '../protocol/headers.js';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { http2Settings, MAX_SESSION_MEMORY_MB } from './http2-settings.js';
import { widenSessionWindow } from './session-window.js';
import type { KeepAliveOptions } from './keep-alive.js';
import { addressOf, TCP_NETWORK, type Binding, type MeshHttpServer, type Network } from './network.js';
import { peerFault } from './node-errors.js';
import { Session } from './session.js';
import type { MeshTlsOptions } from './tls-options.js';
import { answerError } from './unary-answer.js';
import { unaryPathOf, type UnaryPath } from './unary-path.js';

/** What a listener needs to know. */
export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly limits: WireLimits;
  readonly keepAlive: KeepAliveOptions;
  readonly tls: MeshTlsOptions | undefined;
  /** @default TCP and TLS */
  readonly network?: Network | undefined;
}

/** Takes the channels that peers open. */
export interface ChannelAcceptor {
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void;
  /** A request that is no channel; without this there are none. */
  onUnary?(path: UnaryPath, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: Session): void;
  /** A connection that broke before it became a session, or broke the rules of HTTP/2. */
  onBadPeer(address: string, reason: string): void;
}

/** Cancelled call streams are resets, so peers may send more of them than Node allows; a flood still ends the session. */
const STREAM_RESET_BURST = 10_000;
const STREAM_RESETS_PER_SECOND = 1_000;

const PATHS = `${CHANNEL_PATH} (channels), /rpc/{route}, /events/{route}, /health and /ready`;

/** How long the last bytes of a session may take to leave. */
const SESSION_CLOSE_MS = 500;

export class Listener {
  private readonly server: MeshHttpServer;
  private readonly sessions = new Map<ServerHttp2Session, Session>();
  /** Every connection, also those that are no session yet and perhaps never will be. */
  private readonly sockets = new Set<Duplex>();
  private readonly network: Network;
  private binding: Binding | undefined;
  /** The connection whose session node:http2 makes within the event that brings it. */
  private arriving: Duplex | undefined;

  constructor(
    private readonly options: ListenOptions,
    private readonly acceptor: ChannelAcceptor,
  ) {
    this.network = options.network ?? TCP_NETWORK;
    this.server = createHttp2Server(options);
    this.server.maxConnections = options.limits.maxSessions;
    this.server.on('connection', (socket: Duplex) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.server.prependListener(
      options.tls === undefined ? 'connection' : 'secureConnection',
      (socket: Duplex) => {
        this.arriving = socket;
      },
    );
    this.server.on('session', this.onSession);
    this.server.on('sessionError', (error: unknown, session: ServerHttp2Session | undefined) => {
      acceptor.onBadPeer((session && this.sessions.get(session)?.address) ?? 'unknown', peerFault(error));
    });
    this.server.on('stream', this.onStream);
    this.server.on('drop', (data: { remoteAddress?: string } | undefined) => {
      acceptor.onBadPeer(
        data?.remoteAddress ?? 'unknown',
        `more than limits.maxSessions (${options.limits.maxSessions}) sessions`,
      );
    });
    this.server.on('tlsClientError', (error: Error, socket: { remoteAddress?: string }) => {
      acceptor.onBadPeer(socket.remoteAddress ?? 'unknown', peerFault(error));
    });
  }

  /** The address that peers reach it under. Only after {@link listen}. */
  get port(): number {
    return this.binding?.port ?? 0;
  }

  /** Number of sessions that peers hold. */
  get sessionCount(): number {
    return this.sessions.size;
  }

  /** The server of node:http2 underneath. */
  unwrap(): MeshHttpServer {
    return this.server;
  }

  /** Resolves once the port is bound; rejects with a `MeshError` that names host and port. */
  async listen(): Promise<void> {
    const { host, port } = this.options;
    try {
      this.binding = await this.network.listen(this.server, host, port);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const hint = code === 'EADDRINUSE' ? 'the port is in use; set `port: 0` to take any free one' : message;
      throw new MeshError('FAILED_PRECONDITION', `cannot listen on ${addressOf(host, port)}: ${hint}`, {
        cause,
      });
    }
    this.server.on('error', (error: Error) => this.acceptor.onBadPeer('listener', error.message));
  }

  /**
   * Takes no new connections. GOAWAY waits until {@link close}: a peer may only be told of it once its streams have ended,
   * since common HTTP/2 libraries take every frame after it for a fault of the connection.
   */
  stopAccepting(): void {
    this.binding?.stop();
  }

  /** Ends every session, streams that are still open too, and resolves when the port is free. */
  async close(): Promise<void> {
    this.stopAccepting();
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    await Promise.all([...this.sessions.values()].map((session) => session.closeWithin(SESSION_CLOSE_MS)));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private readonly onSession = (http2: ServerHttp2Session): void => {
    const { arriving } = this;
    this.arriving = undefined;
    const address = this.network.dialledFrom(http2);
    widenSessionWindow(http2);
    this.sessions.set(http2, new Session(http2, address, this.options.keepAlive, arriving));
    http2.once('close', () => this.sessions.delete(http2));
  };

  private readonly onStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    stream.on('error', ignore);
    const http2 = stream.session as ServerHttp2Session | undefined;
    const session = http2 && this.sessions.get(http2);
    if (session === undefined) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    const unary = this.acceptor.onUnary && unaryPathOf(headers);
    if (unary !== undefined) {
      this.acceptor.onUnary?.(unary, stream, headers, session);
      return;
    }
    const refusal = refusalOf(headers);
    if (refusal === undefined) this.acceptor.onStream(stream, headers, session);
    else refuse(stream, refusal);
  };
}

/** Answers a stream request with a status and `{"error": {code, message}}`, and takes nothing more from it. */
export function refuse(stream: ServerHttp2Stream, error: MeshError): void {
  answerError(stream, error);
}

function refusalOf(headers: IncomingHttpHeaders): MeshError | undefined {
  const path = headers[':path'] ?? '';
  const reject = (code: MeshErrorCode, message: string): MeshError =>
    new MeshError(code, message, { delivery: 'refused' });
  if (path.split('?', 1)[0] !== CHANNEL_PATH)
    return reject('NOT_FOUND', `no such path: ${path.slice(0, 100)}; there are ${PATHS}`);
  if (headers[':method'] !== 'POST')
    return reject('UNIMPLEMENTED', `${CHANNEL_PATH} takes POST, not ${headers[':method']}`);
  if (headerOf(headers, HEADER.serviceName) === undefined) {
    return reject(
      'INVALID_ARGUMENT',
      `the header ${HEADER.serviceName} (the name of the calling service) is missing`,
    );
  }
  return undefined;
}

function createHttp2Server({ limits, tls }: ListenOptions): MeshHttpServer {
  const options = {
    settings: http2Settings(limits),
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    noDelay: true,
    streamResetBurst: STREAM_RESET_BURST,
    streamResetRate: STREAM_RESETS_PER_SECOND,
  };
  if (tls === undefined) return createServer(options);
  if (tls.pfx === undefined && (tls.cert === undefined || tls.key === undefined)) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      'listening with TLS takes `tls.cert` and `tls.key`, or `tls.pfx`',
    );
  }
  try {
    return createSecureServer({ ...options, ...tls, allowHTTP1: false, ALPNProtocols: ['h2'] });
  } catch (cause) {
    const reason = peerFault(cause);
    throw new MeshError('INVALID_ARGUMENT', `the \`tls\` options cannot be used: ${reason}`, {
      cause,
    });
  }
}

function ignore(): void {
  // Told by the stream's own reader.
}
