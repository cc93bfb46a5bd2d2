/** Dialling: a peer is there when its SETTINGS are there, and every failure says what, where and which option. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { dial, type DialOptions } from '../../lib/transport/dialer.js';
import { addressOf } from '../../lib/transport/network.js';
import { DEFAULT_KEEP_ALIVE } from '../../lib/transport/keep-alive.js';
import type { Session } from '../../lib/transport/session.js';
import { makeCertificates } from '../support/certificates.js';
import { eventually, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';
import { RawServer } from '../support/raw-peer.js';
import { freePort } from '../support/redis-server.js';
import { limitsWith } from '../support/stream-pair.js';

const open: { close(): Promise<unknown> }[] = [];
const ours = makeCertificates();

function dialling(port: number, options: Partial<DialOptions> = {}, host = '127.0.0.1'): Promise<Session> {
  const all = {
    limits: limitsWith(),
    keepAlive: DEFAULT_KEEP_ALIVE,
    connectTimeoutMs: 1_000,
    tls: undefined,
    ...options,
  };
  return dial(host, port, all).then((session) => {
    open.unshift({ close: () => session.closeWithin(100) });
    return session;
  });
}

/** A server of bare TCP. */
async function tcp(onConnection: (socket: Socket) => void): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).resume();
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.unshift({
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

async function raw(options: Parameters<typeof RawServer.start>[1] = {}): Promise<RawServer> {
  const server = await RawServer.start(undefined, options);
  open.unshift(server);
  return server;
}

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

describe('Dialling a peer', () => {
  it('gives a session that can be used, in cleartext and by name', async () => {
    const server = await raw();
    const session = await dialling(server.port, {}, 'localhost');
    expect(session.usable).toBe(true);
    expect(session.address).toBe(`localhost:${server.port}`);
  });

  it('that refuses the connection fails at once and names the address', async () => {
    const port = await freePort();
    const error = await failureOf(dialling(port));
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      details: { errno: 'ECONNREFUSED' },
    });
    expect(error.rawMessage).toMatch(`cannot connect to 127.0.0.1:${port}: `);
  });

  it('whose name is not known fails and names it', async () => {
    const error = await failureOf(dialling(80, {}, 'no-such-host.invalid'));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain('no-such-host.invalid:80');
  });

  it('that accepts but never sends SETTINGS fails after connectTimeoutMs and is let go', async () => {
    const { port, sockets } = await tcp(() => undefined);
    const started = performance.now();
    const error = await failureOf(dialling(port, { connectTimeoutMs: 80 }));
    expect(performance.now() - started).toBeGreaterThanOrEqual(79);
    expect(error.rawMessage).toBe(
      `127.0.0.1:${port} did not complete the HTTP/2 handshake within 80 ms (connectTimeoutMs)`,
    );
    await eventually('the connection is gone', () => sockets.size === 0);
  });

  it('that accepts and hangs up fails at once', async () => {
    const { port } = await tcp((socket) => socket.end());
    const error = await within(failureOf(dialling(port, { connectTimeoutMs: 20_000 })), 3_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('that answers in HTTP/1.1 fails at once', async () => {
    const { port } = await tcp((socket) =>
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'),
    );
    const error = await within(failureOf(dialling(port, { connectTimeoutMs: 20_000 })), 3_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain(`cannot connect to 127.0.0.1:${port}`);
  });

  it('can be given up: it fails with the reason, and the connection is let go', async () => {
    const { port, sockets } = await tcp(() => undefined);
    const giveUp = new AbortController();
    const error = failureOf(dialling(port, { connectTimeoutMs: 20_000, signal: giveUp.signal }));
    await eventually('the peer sees us', () => sockets.size === 1);
    giveUp.abort();
    expect(await within(error, 1_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    await eventually('the connection is gone', () => sockets.size === 0);
  });
});

describe('Dialling with TLS', () => {
  it('gives a session when the certificate is of the own CA', async () => {
    const server = await raw({ cert: ours.cert, key: ours.key });
    const session = await dialling(server.port, { tls: { ca: ours.ca } });
    expect(session.usable).toBe(true);
  });

  it('fails when the certificate is of another CA, and names the `tls` options', async () => {
    const server = await raw({ cert: ours.cert, key: ours.key });
    const other = makeCertificates();
    const error = await failureOf(dialling(server.port, { tls: { ca: other.ca } }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toMatch(
      /^cannot connect to 127\.0\.0\.1:\d+: .*; check the `tls` options of both sides$/,
    );
  });

  it('fails when the certificate is for another name, and says which', async () => {
    const server = await raw({ cert: ours.cert, key: ours.key });
    const error = await failureOf(
      dialling(server.port, { tls: { ca: ours.ca, servername: 'orders.internal' } }),
    );
    expect(error.rawMessage).toMatch(/orders\.internal.*`tls` options/s);
  });

  it('fails on a cleartext port, and names the `tls` options', async () => {
    const server = await raw();
    const error = await within(failureOf(dialling(server.port, { tls: { ca: ours.ca } })), 3_000);
    expect(error.rawMessage).toContain('`tls` options of both sides');
  });

  it('is what a TLS port needs: dialling in cleartext fails', async () => {
    const server = await raw({ cert: ours.cert, key: ours.key });
    const error = await within(failureOf(dialling(server.port, { connectTimeoutMs: 20_000 })), 3_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('fails at once when the own certificate is no PEM', async () => {
    const error = await failureOf(dialling(1, { tls: { ca: 'no certificate', cert: 'none', key: 'none' } }));
    expect(error.rawMessage).toContain('`tls` options');
  });
});

describe('An address', () => {
  it('has brackets around IPv6', () => {
    expect(addressOf('::1', 80)).toBe('[::1]:80');
    expect(addressOf('10.0.0.7', 4100)).toBe('10.0.0.7:4100');
  });
});
