/** Dialling: TCP or TLS connect, HTTP/2 preface and SETTINGS, all within one time limit. */
import { connect, type ClientHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { WireLimits } from '../protocol/limits.js';
import { MeshError } from '../protocol/mesh-error.js';
import { http2Settings, MAX_SESSION_MEMORY_MB } from './http2-settings.js';
import { widenSessionWindow } from './session-window.js';
import type { KeepAliveOptions } from './keep-alive.js';
import { addressOf, TCP_NETWORK, type Network } from './network.js';
import { connectError } from './node-errors.js';
import { Session } from './session.js';
import type { MeshTlsOptions } from './tls-options.js';

/** What a dialler needs to know. */
export interface DialOptions {
  readonly limits: WireLimits;
  readonly keepAlive: KeepAliveOptions;
  readonly connectTimeoutMs: number;
  readonly tls: MeshTlsOptions | undefined;
  /** @default TCP and TLS */
  readonly network?: Network | undefined;
  /** Gives the attempt up when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects and waits for the peer's SETTINGS, so that a port which accepts but does not speak HTTP/2 is found out.
 * Rejects with a `MeshError` (`UNAVAILABLE`, `not-sent`).
 */
export function dial(host: string, port: number, options: DialOptions): Promise<Session> {
  const address = addressOf(host, port);
  const { network = TCP_NETWORK, tls } = options;
  return new Promise((resolve, reject) => {
    let http2: ClientHttp2Session;
    let socket: Duplex | undefined;
    try {
      http2 = connect(`${tls ? 'https' : 'http'}://${address}`, {
        settings: http2Settings(options.limits),
        maxSessionMemory: MAX_SESSION_MEMORY_MB,
        createConnection: () => (socket = network.connect(host, port, tls)),
      });
    } catch (error) {
      reject(connectError(error, address));
      return;
    }
    const timer = setTimeout(() => {
      fail(
        new MeshError(
          'UNAVAILABLE',
          `${address} did not complete the ${tls ? 'TLS and ' : ''}HTTP/2 handshake within ` +
            `${options.connectTimeoutMs} ms (connectTimeoutMs)`,
          { delivery: 'not-sent' },
        ),
      );
    }, options.connectTimeoutMs);
    let settled = false;
    const fail = (error: unknown): void => {
      settled = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      http2.off('close', onClose);
      http2.on('error', ignore);
      http2.destroy();
      socket?.destroy();
      reject(connectError(error, address));
    };
    // A listener that asks for certificates closes the connection without a word.
    const closeHint = tls ? ': the peer may want a certificate that it trusts' : '';
    const onClose = (): void =>
      fail(new Error(`the connection was closed before the HTTP/2 SETTINGS arrived${closeHint}`));
    const onAbort = (): void =>
      fail(new MeshError('UNAVAILABLE', `connecting to ${address} was given up`, { delivery: 'not-sent' }));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    // Node takes note of a TLS alert after the handshake (a certificate that the peer wants, and does not get), but neither
    // tells of it nor lets the socket go.
    socket?.on('error', (error) => {
      socket?.destroy();
      if (!settled) fail(error);
    });
    http2.once('error', fail).once('close', onClose);
    http2.once('connect', () => widenSessionWindow(http2));
    http2.once('remoteSettings', () => {
      settled = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      http2.off('error', fail).off('close', onClose);
      resolve(new Session(http2, address, options.keepAlive, socket));
    });
  });
}

function ignore(): void {
  // The outcome was told already.
}
