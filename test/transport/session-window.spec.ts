/** The window of a session: as wide as the way to the peer is long, and never so wide that nobody reads any more. */
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import {
  connect,
  createSecureServer,
  createServer,
  type ClientHttp2Session,
  type Http2Session,
  type Http2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { DEFAULT_WIRE_LIMITS } from '../../lib/protocol/limits.js';
import { FrameStream } from '../../lib/transport/frame-stream.js';
import { http2Settings } from '../../lib/transport/http2-settings.js';
import {
  MAX_SESSION_WINDOW_BYTES,
  SESSION_WINDOW_BYTES,
  widenSessionWindow,
} from '../../lib/transport/session-window.js';
import { keepReading } from '../../lib/transport/stuck-reads.js';
import { certificateFiles, type Certificates } from '../support/certificates.js';
import { within } from '../support/eventually.js';
import { slowLink } from '../support/slow-link.js';
import { Reading } from '../support/stream-pair.js';

const MB = 1024 * 1024;
const settings = http2Settings(DEFAULT_WIRE_LIMITS);
let pem: Certificates;
const closing: (() => Promise<void>)[] = [];

beforeAll(() => {
  const { pem: made, remove } = certificateFiles();
  pem = made;
  remove();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Ends {
  readonly near: ClientHttp2Session;
  readonly far: Http2Session;
}

/** Two ends of a session; `prepare` is called for each, `onStream` for what the near one opens. */
async function session(
  how: 'tcp' | 'tls' | 'slow',
  prepare: (session: Http2Session) => void,
  onStream: (stream: Http2Stream) => void,
): Promise<Ends> {
  const server = how === 'tls' ? createSecureServer({ settings, ...pem }) : createServer({ settings });
  const sockets = new Set<Duplex>();
  server.on('connection', (socket: Duplex) => sockets.add(socket));
  server.on('session', (far) => {
    far.on('error', () => undefined);
    prepare(far);
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200 });
    onStream(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  let { port } = server.address() as AddressInfo;
  closing.push(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  if (how === 'slow') {
    const behind = port;
    const link = await slowLink(() => behind, 25);
    port = link.port;
    closing.push(() => link.close());
  }
  const accepted = once(server, 'session') as Promise<[Http2Session]>;
  const near = connect(`${how === 'tls' ? 'https' : 'http'}://localhost:${port}`, { settings, ca: pem.ca });
  near.on('error', () => undefined);
  closing.push(async () => near.destroy());
  await once(near, 'remoteSettings');
  prepare(near);
  return { near, far: (await accepted)[0] };
}

/** Writes so many megabytes, and reads all that comes; resolves with what has come once both have ended. */
function flood(stream: Http2Stream, megabytes: number): Promise<number> {
  return new Promise((resolve) => {
    let came = 0;
    let wrote = 0;
    const filling = Buffer.alloc(MB);
    stream.on('data', (chunk: Buffer) => (came += chunk.length)).once('end', () => resolve(came));
    const write = (): void => {
      while (wrote < megabytes) {
        wrote += 1;
        if (!stream.write(filling) && wrote < megabytes) {
          stream.once('drain', write);
          return;
        }
      }
      stream.end();
    };
    write();
  });
}

const widest = (http2: Http2Session): void => {
  http2.setLocalWindowSize(MAX_SESSION_WINDOW_BYTES);
  expect(keepReading(http2)).toBe(true);
};

describe('Two sides that write far more than the sockets hold at the same time, with the widest window', () => {
  it.each(['tcp', 'tls'] as const)(
    'both go on reading, over %s',
    async (how) => {
      const { near } = await session(how, widest, (stream) => void flood(stream, 16));
      const streams = Array.from({ length: 8 }, () =>
        near.request({ ':method': 'POST' }, { endStream: false }),
      );
      const came = await within(Promise.all(streams.map((stream) => flood(stream, 16))), 30_000, 'all of it');
      expect(came).toEqual(streams.map(() => 16 * MB));
    },
    40_000,
  );
});

describe('The window of a session', () => {
  /** The peer sends `megabytes` to this side, in frames of 64 KiB. */
  async function receive(how: 'tcp' | 'slow', megabytes: number): Promise<Http2Session> {
    const frame = new Uint8Array(64 * 1024);
    const { near } = await session(how, widenSessionWindow, (stream) => {
      const frames = new FrameStream(stream, DEFAULT_WIRE_LIMITS, 'far');
      frames.start(new Reading());
      void (async () => {
        for (let sent = 0; sent < megabytes * MB; sent += frame.length) {
          frames.send(frame);
          await frames.ready();
        }
        frames.end();
      })();
    });
    const reading = new Reading();
    new FrameStream(
      near.request({ ':method': 'POST' }, { endStream: false }),
      DEFAULT_WIRE_LIMITS,
      'near',
    ).start(reading);
    await within(new Promise<void>((resolve) => (reading.onEnd = resolve)), 30_000, 'all of it');
    expect(reading.frames).toHaveLength((megabytes * MB) / frame.length);
    return near;
  }

  it('grows with what comes in over a way that takes 25 ms each way, up to its limit', async () => {
    const near = await receive('slow', 16);
    const { effectiveLocalWindowSize } = near.state;
    expect(effectiveLocalWindowSize).toBeGreaterThan(2 * SESSION_WINDOW_BYTES);
    expect(effectiveLocalWindowSize).toBeLessThanOrEqual(MAX_SESSION_WINDOW_BYTES);
  }, 40_000);

  it('does not grow beyond 4 MiB', () => {
    expect(MAX_SESSION_WINDOW_BYTES).toBe(4 * MB);
  });
});
