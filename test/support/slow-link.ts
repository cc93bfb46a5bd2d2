/** A link with a round trip: a TCP relay that hands on later what comes in. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface SlowLink {
  /** Where it listens. */
  readonly port: number;
  close(): Promise<void>;
}

/** How much is under way at a time, as in a long cable. */
const HELD_BYTES = 16 * 1024 * 1024;

/** Takes connections for `target()` on 127.0.0.1; each direction takes `delayMs`. */
export async function slowLink(target: () => number, delayMs: number): Promise<SlowLink> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: target(), host: '127.0.0.1', noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy()).once('close', () => sockets.delete(from));
      relay(from, to, delayMs);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function relay(from: Socket, to: Socket, delayMs: number): void {
  let held = 0;
  from.on('data', (chunk: Buffer) => {
    held += chunk.length;
    if (held > HELD_BYTES) from.pause();
    setTimeout(() => {
      to.write(chunk, () => {
        held -= chunk.length;
        if (held <= HELD_BYTES) from.resume();
      });
    }, delayMs);
  });
  from.once('end', () => setTimeout(() => to.end(), delayMs));
}
