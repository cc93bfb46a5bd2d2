/** A floor: the same frames over one bare stream of node:http2, with the windows that a fast link needs. */
import { connect as connectHttp2, createServer, type Http2Session, type Settings } from 'node:http2';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Surroundings } from '../program/protocol.js';
import { floorClient, floorReceived, serveStream, type Purpose } from './floor.js';
import type { Client, Serving } from './peer.js';

const WINDOW_BYTES = 16 * 1024 * 1024;
const settings: Settings = { initialWindowSize: WINDOW_BYTES, maxFrameSize: 1024 * 1024, enablePush: false };

export async function serve(): Promise<Serving> {
  const sessions = new Set<Http2Session>();
  const server = createServer({ settings });
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(WINDOW_BYTES);
  });
  server.on('stream', (stream, headers) => {
    const [, purpose, count] = (headers[':path'] ?? '').split('/');
    stream.respond({ ':status': 200 });
    serveStream(stream, purpose as Purpose, Number(count));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const session of sessions) session.destroy();
    server.close();
  };
  return { address: (server.address() as AddressInfo).port, received: floorReceived, close };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const session = connectHttp2(`http://127.0.0.1:${address as number}`, { settings });
  session.on('error', () => undefined);
  await once(session, 'connect');
  session.setLocalWindowSize(WINDOW_BYTES);
  const open = (purpose: Purpose, count: number) =>
    session.request({ ':method': 'POST', ':path': `/${purpose}/${count}` }, { endStream: false });
  return floorClient(open, async () => session.destroy());
}
