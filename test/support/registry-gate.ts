/** A relay in front of Redis that can be told to answer nonsense in its place. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What is said in the place of Redis: something that is no answer at all, an error, or an answer that fits nothing. */
export const NONSENSE = {
  'bytes that are no answer': 'HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\n<?>{}\n',
  'an error to everything': '-ERR this is another server\r\n',
  'OK to everything': '+OK\r\n',
  'a number to everything': ':7\r\n',
} as const;

export interface RegistryGate {
  readonly url: string;
  /** From now on every request is answered with this text; `undefined`: by Redis again. Connections that stand are cut. */
  answer(text: string | undefined): void;
  close(): Promise<void>;
}

/** Takes connections for the Redis at `port`. */
export async function registryGate(port: number): Promise<RegistryGate> {
  const sockets = new Set<Socket>();
  let nonsense: string | undefined;
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  };
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((near) => {
    keep(near);
    if (nonsense !== undefined) {
      const text = nonsense;
      near.on('data', () => near.write(text));
      return;
    }
    const far = keep(connect(port, '127.0.0.1'));
    near.once('close', () => far.destroy()).pipe(far);
    far.once('close', () => near.destroy()).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer(text) {
      nonsense = text;
      cut();
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      cut();
      await closed;
    },
  };
}
