/** A floor: the same frames over a bare TCP socket. */
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Surroundings } from '../program/protocol.js';
import { floorClient, floorReceived, serveStream, type Purpose } from './floor.js';
import type { Client, Serving } from './peer.js';

export async function serve(): Promise<Serving> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    greeted(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { address: (server.address() as AddressInfo).port, received: floorReceived, close };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const sockets = new Set<Socket>();
  const open = (purpose: Purpose, count: number): Duplex => {
    const socket = connectSocket({
      port: address as number,
      host: '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    });
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.write(`${purpose} ${count}\n`);
    return socket;
  };
  return floorClient(open, async () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** Reads the line that says what the connection is for; the frames begin after it. */
function greeted(socket: Socket): void {
  let line = '';
  const onReadable = (): void => {
    for (let byte = socket.read(1) as Buffer | null; byte !== null; byte = socket.read(1) as Buffer | null) {
      if (byte.toString() !== '\n') {
        line += byte.toString();
        continue;
      }
      socket.off('readable', onReadable);
      const [purpose, count] = line.split(' ');
      serveStream(socket, purpose as Purpose, Number(count));
      return;
    }
  };
  socket.on('readable', onReadable);
}
