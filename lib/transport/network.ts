/** The network beneath HTTP/2: TCP and TLS, or what a test puts in their place. */
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import { connect as connectTcp, isIP, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { dialContext } from './tls-context.js';
import type { MeshTlsOptions } from './tls-options.js';

/** A server of node:http2 that takes connections by its event `connection`. */
export type MeshHttpServer = Http2Server | Http2SecureServer;

/** An address that a server has taken. */
export interface Binding {
  readonly port: number;
  /** Takes no new connections; those that stand go on. Idempotent. */
  stop(): void;
}

/** What the dialler and the listener need of a network. */
export interface Network {
  /** Begins to connect; the connection's event `error` tells when that fails. */
  connect(host: string, port: number, tls: MeshTlsOptions | undefined): Duplex;
  /** Gives every connection that comes in to `server`. Rejects with an error that has a `code`, as Node's own do. */
  listen(server: MeshHttpServer, host: string, port: number): Promise<Binding>;
  /** `host:port` of the side that dialled. */
  dialledFrom(session: ServerHttp2Session): string;
}

/** `host:port`, with brackets around an IPv6 address. */
export function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The network of this machine. */
export const TCP_NETWORK: Network = {
  connect(host, port, tls) {
    const where = { host, port, noDelay: true };
    if (tls === undefined) return connectTcp(where);
    const servername = tls.servername ?? (isIP(host) === 0 ? host : '');
    const secureContext = dialContext(tls);
    return connectTls({ ...where, ...tls, secureContext, servername, ALPNProtocols: ['h2'] });
  },

  listen(server, host, port) {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve({
          port: (server.address() as AddressInfo | null)?.port ?? 0,
          stop: () => {
            if (server.listening) server.close();
          },
        });
      });
    });
  },

  dialledFrom({ socket }) {
    return addressOf(socket.remoteAddress ?? 'unknown', socket.remotePort ?? 0);
  },
};
