/** The listener: who speaks something else gets an answer that a person can read, and nobody can keep it from closing. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { DEFAULT_KEEP_ALIVE } from '../../lib/transport/keep-alive.js';
import { Listener, type ListenOptions } from '../../lib/transport/listener.js';
import { makeCertificates } from '../support/certificates.js';
import { eventually, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';
import { RawClient } from '../support/raw-peer.js';
import { limitsWith } from '../support/stream-pair.js';

const open: { close(): Promise<unknown> }[] = [];
const keep = <T extends { close(): Promise<unknown> }>(thing: T): T => {
  open.unshift(thing);
  return thing;
};

interface Listening {
  readonly listener: Listener;
  readonly port: number;
  readonly accepted: IncomingHttpHeaders[];
  readonly bad: string[];
}

async function listening(options: Partial<ListenOptions> = {}): Promise<Listening> {
  const accepted: IncomingHttpHeaders[] = [];
  const bad: string[] = [];
  const listener = keep(
    new Listener(
      {
        host: '127.0.0.1',
        port: 0,
        limits: limitsWith(),
        keepAlive: DEFAULT_KEEP_ALIVE,
        tls: undefined,
        ...options,
      },
      {
        onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
          accepted.push(headers);
          stream.respond({ ':status': 200 });
        },
        onBadPeer: (address, reason) => bad.push(`${address} ${reason}`),
      },
    ),
  );
  await listener.listen();
  return { listener, port: listener.port, accepted, bad };
}

async function client(port: number): Promise<RawClient> {
  return keep(await RawClient.dial(port));
}

/** What a peer gets that speaks HTTP/1.1: a status, or the code of the error. */
function http1(port: number): Promise<string> {
  return new Promise((resolve) => {
    const asking = request({ port, host: '127.0.0.1', method: 'POST', path: '/channel' }, (answer) => {
      answer.resume();
      resolve(`status ${answer.statusCode}`);
    });
    asking.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)));
    asking.end();
  });
}

async function gone(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  await eventually('the end of the connection', () => socket.closed, 2_000);
}

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

describe('A stream that is no channel', () => {
  it.each<[string, Record<string, string | undefined>, number, string, RegExp]>([
    [
      'of another path',
      { ':path': '/other' },
      404,
      'NOT_FOUND',
      /no such path: \/other; there are \/channel/,
    ],
    ['of another method', { ':method': 'GET' }, 501, 'UNIMPLEMENTED', /\/channel takes POST, not GET/],
    [
      'without x-service-name',
      { 'x-service-name': undefined },
      400,
      'INVALID_ARGUMENT',
      /header x-service-name .* is missing/,
    ],
    ['with an empty x-service-name', { 'x-service-name': '' }, 400, 'INVALID_ARGUMENT', /x-service-name/],
  ])('%s is answered with a status and JSON that say why', async (_, headers, status, code, message) => {
    const { port, accepted } = await listening();
    const peer = await client(port);
    const refusal = await peer.refused(headers);
    expect(refusal.status).toBe(status);
    expect(refusal.headers['content-type']).toBe('application/json');
    expect(JSON.parse(refusal.body)).toEqual({
      error: { code, message: expect.stringMatching(message) },
    });
    expect(accepted).toEqual([]);
    // The session has taken no harm.
    await peer.channel();
    expect(accepted).toHaveLength(1);
  });

  it('is answered also when its body never ends, and then ended', async () => {
    const { port } = await listening();
    const peer = await client(port);
    const stream = peer.request({ ':path': '/other' });
    const closed = once(stream, 'close');
    stream.resume();
    await within(closed, 2_000, 'the end of the stream');
    expect(stream.rstCode).toBe(0);
  });

  it('asked for with HEAD is answered without a body', async () => {
    const { port } = await listening();
    const refusal = await (await client(port)).refused({ ':method': 'HEAD', ':path': '/other' });
    expect(refusal).toMatchObject({ status: 404, body: '' });
  });

  it('does not repeat a long path in full', async () => {
    const { port } = await listening();
    const refusal = await (await client(port)).refused({ ':path': `/${'a'.repeat(5_000)}` });
    expect(refusal.body.length).toBeLessThan(300);
  });

  it('may have a query behind /channel', async () => {
    const { port, accepted } = await listening();
    await (await client(port)).channel({ ':path': '/channel?trace=1' });
    expect(accepted).toHaveLength(1);
  });
});

describe('A peer that speaks something else', () => {
  it('as HTTP/1.1 loses its connection, is told of with its address, and harms nobody', async () => {
    const { port, bad, listener } = await listening();
    const peer = await client(port);
    expect(await within(http1(port), 2_000)).not.toMatch(/^status 2/);
    await eventually('it was told', () => bad.length > 0);
    expect(bad[0]).toMatch(/^127\.0\.0\.1:\d+ it does not speak HTTP\/2/);
    await peer.channel();
    await eventually('its session is gone', () => listener.sessionCount === 1);
  });

  it('as TLS on a cleartext port loses its connection and is told of', async () => {
    const { port, bad } = await listening();
    const socket = connectTls({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false });
    await gone(socket);
    await eventually('it was told', () => bad.length > 0);
  });

  it('as cleartext on a TLS port loses its connection and is told of', async () => {
    const { port, bad } = await listening({ tls: makeCertificates() });
    const socket = connect(port, '127.0.0.1');
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    await gone(socket);
    await eventually('it was told', () => bad.length > 0);
  });

  it('as TLS without HTTP/2 is let go', async () => {
    const { port } = await listening({ tls: makeCertificates() });
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false,
    });
    await gone(socket);
  });
});

describe('The bounds of a listener', () => {
  it('close the sessions beyond limits.maxSessions and say so', async () => {
    const { port, bad } = await listening({ limits: limitsWith({ maxSessions: 1 }) });
    await client(port);
    const second = connect(port, '127.0.0.1');
    await gone(second);
    await eventually('it was told', () => bad.length > 0);
    expect(bad[0]).toContain('more than limits.maxSessions (1) sessions');
  });

  it('refuse the streams beyond limits.maxChannels', async () => {
    const { port, accepted } = await listening({ limits: limitsWith({ maxChannels: 2 }) });
    const peer = await client(port);
    await peer.channel();
    await peer.channel();
    // The peer knows of the limit by SETTINGS, and keeps the third back until one of the others has ended.
    const third = peer.request();
    expect(third.pending || accepted.length === 2).toBe(true);
    expect(peer.session.remoteSettings.maxConcurrentStreams).toBe(2);
  });

  it('refuse a header block beyond limits.maxHeaderBytes, and the session lives on', async () => {
    const { port, accepted } = await listening({ limits: limitsWith({ maxHeaderBytes: 8_192 }) });
    const peer = await client(port);
    const stream = peer.request({ 'x-large': 'a'.repeat(20_000) });
    await eventually('the end of the stream', () => stream.closed);
    expect(stream.rstCode).not.toBe(0);
    await peer.channel();
    expect(accepted).toHaveLength(1);
  });
});

describe('A listener that cannot begin', () => {
  it('because the port is in use says so, with the address and the way out', async () => {
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const error = await failureOf(listening({ port }));
    expect(error.code).toBe('FAILED_PRECONDITION');
    expect(error.rawMessage).toBe(
      `cannot listen on 127.0.0.1:${port}: the port is in use; set \`port: 0\` to take any free one`,
    );
    taken.close();
    await once(taken, 'close');
  });

  it('because the host is not of this machine says so', async () => {
    const error = await failureOf(listening({ host: '192.0.2.1' }));
    expect(error.rawMessage).toMatch(/^cannot listen on 192\.0\.2\.1:0: .*EADDRNOTAVAIL/);
  });

  it('because the certificate is no PEM names the option', async () => {
    const error = await failureOf(listening({ tls: { cert: 'no certificate', key: 'no key' } }));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.rawMessage).toContain('`tls`');
  });

  it('because there is no certificate names the option', async () => {
    const { ca } = makeCertificates();
    const error = await failureOf(listening({ tls: { ca } }));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.rawMessage).toMatch(/`tls\.cert` and `tls\.key`/);
  });
});

describe('Closing a listener', () => {
  it.each([
    ['that says nothing', undefined],
    ['that speaks TLS and stops half-way', makeCertificates()],
  ])('does not wait for a connection %s', async (_, tls) => {
    const { listener, port } = await listening({ tls });
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(Buffer.of(0x16, 3, 1));
    const ended = gone(socket);
    await within(listener.close(), 3_000, 'close()');
    await ended;
  });

  it('ends sessions with streams that are open', async () => {
    const { listener, port } = await listening();
    const peer = await client(port);
    const channel = await peer.channel();
    await within(listener.close(), 3_000, 'close()');
    await eventually('the peer knows', () => channel.closed && peer.session.destroyed);
  });

  it('twice is no fault', async () => {
    const { listener } = await listening();
    await listener.close();
    await within(listener.close(), 1_000, 'the second close()');
  });
});
