/** Sessions: opening a stream ends in a stream or in an error that says what the peer did, and the session outlives both. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { dial } from '../../lib/transport/dialer.js';
import { DEFAULT_KEEP_ALIVE, type KeepAliveOptions } from '../../lib/transport/keep-alive.js';
import type { Session } from '../../lib/transport/session.js';
import { eventually, pause, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';
import { RawServer } from '../support/raw-peer.js';
import { limitsWith } from '../support/stream-pair.js';

const OPEN = { ':method': 'POST', ':path': '/channel', 'x-service-name': 'tests' };
const open: { close(): Promise<unknown> }[] = [];

interface Setting {
  readonly server: RawServer;
  readonly session: Session;
}

async function sessionWith(
  answer?: (raw: ServerHttp2Stream) => void,
  settings: { keepAlive?: KeepAliveOptions; server?: Parameters<typeof RawServer.start>[1] } = {},
): Promise<Setting> {
  const server = await RawServer.start(
    answer === undefined ? undefined : (_, raw) => answer(raw),
    settings.server,
  );
  open.unshift(server);
  const session = await dial('127.0.0.1', server.port, {
    limits: limitsWith(),
    keepAlive: settings.keepAlive ?? DEFAULT_KEEP_ALIVE,
    connectTimeoutMs: 1_000,
    tls: undefined,
  });
  open.unshift({ close: () => session.closeWithin(100) });
  return { server, session };
}

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

describe('Opening a stream', () => {
  it('gives the stream and what the peer said', async () => {
    const { session } = await sessionWith((raw) => raw.respond({ ':status': 200, 'x-mesh-version': '1' }));
    const { headers } = await session.open(OPEN, 1_000);
    expect(headers['x-mesh-version']).toBe('1');
  });

  it.each<[number, string, string]>([
    [404, 'UNIMPLEMENTED', 'no such path'],
    [401, 'UNAUTHENTICATED', 'who are you'],
    [403, 'PERMISSION_DENIED', 'not you'],
    [429, 'RESOURCE_EXHAUSTED', 'too many'],
    [500, 'UNAVAILABLE', 'broken'],
    [503, 'UNAVAILABLE', 'later'],
    [204, 'UNKNOWN', ''],
  ])('that is answered %i fails as %s, refused, with the words of the peer', async (status, code, words) => {
    const { session, server } = await sessionWith((raw) => {
      raw.respond({ ':status': status });
      if (status === 204) raw.end();
      else raw.end(status === 404 ? JSON.stringify({ error: { code: 'X', message: words } }) : words);
    });
    const error = await failureOf(session.open(OPEN, 1_000));
    expect(error).toMatchObject({ code, delivery: 'refused', details: { httpStatus: status } });
    expect(error.rawMessage).toContain(`127.0.0.1:${server.port} answered /channel with status ${status}`);
    expect(error.rawMessage.endsWith(words)).toBe(true);
    expect(session.usable).toBe(true);
  });

  it('that is never answered fails after the time limit, not sent', async () => {
    const { session, server } = await sessionWith(() => undefined);
    const error = await failureOf(session.open(OPEN, 60));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toBe(
      `127.0.0.1:${server.port} did not answer /channel within 60 ms (connectTimeoutMs)`,
    );
    await eventually('the peer is told', () => server.streams[0]?.closed);
    expect(session.usable).toBe(true);
  });

  it('whose refusal has a body without an end still fails with the status, and is ended', async () => {
    const { session, server } = await sessionWith((raw) => {
      raw.respond({ ':status': 404 });
      const more = setInterval(() => raw.write('x'.repeat(500)), 1);
      raw.once('close', () => clearInterval(more));
    });
    const error = await failureOf(session.open(OPEN, 2_000));
    expect(error).toMatchObject({ code: 'UNIMPLEMENTED', delivery: 'refused' });
    await eventually('the stream is ended', () => server.streams[0]?.closed);
  });

  it('whose refusal has a body that never comes fails with the status after the time limit', async () => {
    const { session } = await sessionWith((raw) => raw.respond({ ':status': 401 }));
    expect(await failureOf(session.open(OPEN, 60))).toMatchObject({
      code: 'UNAUTHENTICATED',
      delivery: 'refused',
    });
  });

  it.each<[string, number, string]>([
    ['CANCEL', 8, 'not-sent'],
    ['REFUSED_STREAM', 7, 'refused'],
    ['INTERNAL_ERROR', 2, 'not-sent'],
    ['NO_ERROR', 0, 'not-sent'],
  ])(
    'that is reset with %s fails as UNAVAILABLE, so that another node is tried',
    async (_, rstCode, delivery) => {
      const { session } = await sessionWith((raw) => raw.close(rstCode));
      expect(await failureOf(session.open(OPEN, 1_000))).toMatchObject({ code: 'UNAVAILABLE', delivery });
      expect(session.usable).toBe(true);
    },
  );

  it('whose session breaks meanwhile fails at once, not sent', async () => {
    const { session, server } = await sessionWith(() => undefined);
    const error = failureOf(session.open(OPEN, 20_000));
    await server.stream();
    server.breakSessions();
    expect(await within(error, 2_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('on a session that is gone fails at once, not sent', async () => {
    const { session } = await sessionWith();
    session.destroy();
    expect(await failureOf(session.open(OPEN, 1_000))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
    });
  });
});

describe('Headers that are too large', () => {
  it('fail that one stream here, name the limit, and the session with its streams lives on', async () => {
    const { session, server } = await sessionWith();
    const { stream } = await session.open(OPEN, 1_000);
    const error = await failureOf(session.open({ ...OPEN, 'x-large': 'a'.repeat(70_000) }, 1_000));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'not-sent' });
    expect(error.rawMessage).toMatch(/headers of 70\d{3} bytes are over .*limits\.maxHeaderBytes/);
    expect(session.usable).toBe(true);
    expect(stream.destroyed).toBe(false);
    await session.open(OPEN, 1_000);
    expect(server.streams).toHaveLength(2);
  });

  it('are measured by what the peer takes, when that is less', async () => {
    const { session } = await sessionWith(undefined, { server: { settings: { maxHeaderListSize: 2_000 } } });
    expect(await failureOf(session.open({ ...OPEN, 'x-large': 'a'.repeat(2_000) }, 1_000))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'not-sent',
    });
    await session.open({ ...OPEN, 'x-large': 'a'.repeat(1_500) }, 1_000);
  });

  it('are also too many: more than a peer on Node takes', async () => {
    const { session } = await sessionWith();
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, 'v']));
    expect(await failureOf(session.open({ ...OPEN, ...many }, 1_000))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'not-sent',
    });
  });
});

describe('The end of a session', () => {
  it('is told once to everybody who listens, and to nobody who has stopped', async () => {
    const { session, server } = await sessionWith();
    const told: string[] = [];
    session.onClose((error) => told.push(`one ${error.code}`));
    session.onClose(() => told.push('two'))();
    server.breakSessions();
    await eventually('it was told', () => told.length > 0);
    await pause(20); // A second time would come by now.
    expect(told).toEqual(['one UNAVAILABLE']);
    expect(session.usable).toBe(false);
  });

  it('in order waits for streams that are open, and takes no new ones', async () => {
    const { session, server } = await sessionWith((raw) => raw.respond({ ':status': 200 }));
    const { stream } = await session.open(OPEN, 1_000);
    const closing = session.close();
    expect(session.usable).toBe(false);
    expect(session.alive).toBe(true);
    stream.resume().end();
    (await server.stream()).stream.end();
    await within(closing, 2_000, 'close()');
    await within(session.close(), 1_000, 'a second close()');
  });
});

describe('Destroying a session', () => {
  it('is quick although the peer reads nothing and a write is under way', async () => {
    const { port, close } = await deafServer();
    open.unshift({ close });
    const session = await dial('127.0.0.1', port, {
      limits: limitsWith(),
      keepAlive: DEFAULT_KEEP_ALIVE,
      connectTimeoutMs: 1_000,
      tls: undefined,
    });
    const http2 = session['http2'] as ClientHttp2Session;
    const stream = http2.request(OPEN, { endStream: false }).on('error', () => undefined);
    stream.write(Buffer.alloc(64 * 1024 * 1024));
    await eventually('the buffers of the sockets are full', async () => {
      const before = http2.socket.bytesWritten;
      await pause(50); // It goes on as long as there is room.
      return before > 64 * 1024 && http2.socket.bytesWritten === before;
    });
    const gone = new Promise((resolve) => session.onClose(resolve));
    session.destroy();
    await within(gone, 2_000, 'the session');
  });
});

describe('Keep-alive', () => {
  it('leaves a peer alone that answers', async () => {
    const { session } = await sessionWith(undefined, { keepAlive: { intervalMs: 10, timeoutMs: 100 } });
    await pause(250); // Many PINGs.
    expect(session.alive).toBe(true);
  });

  it('does not take its own busy thread for a dead peer', async () => {
    const { session } = await sessionWith(undefined, { keepAlive: { intervalMs: 10, timeoutMs: 60 } });
    const http2 = session['http2'];
    let busy = 0;
    const ping = http2.ping.bind(http2) as (done: () => void) => boolean;
    http2.ping = ((done: () => void) => {
      const sent = ping(done);
      const until = performance.now() + 100;
      // Nothing else runs: the timer of the PING is late, and its answer waits unread.
      while (performance.now() < until);
      busy += 1;
      return sent;
    }) as typeof http2.ping;
    await eventually('it was busy three times', () => busy === 3);
    expect(session.alive).toBe(true);
  });
});

/** Grants all of the flow control of HTTP/2, and never reads. */
async function deafServer(): Promise<{ port: number; close(): Promise<void> }> {
  const grants = Buffer.concat([
    // SETTINGS with INITIAL_WINDOW_SIZE, and WINDOW_UPDATE of the connection (RFC 9113, sections 6.5 and 6.9).
    Buffer.from('00000604000000000000047fffffff', 'hex'),
    Buffer.from('0000040800000000007fff0000', 'hex'),
  ]);
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined).write(grants);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
