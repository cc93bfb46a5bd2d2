/** Two ends of one HTTP/2 stream over a real socket, with the settings of the mesh on both sides. */
import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { DEFAULT_WIRE_LIMITS, type WireLimits } from '../../lib/protocol/limits.js';
import type { MeshError } from '../../lib/protocol/mesh-error.js';
import type { FrameReader } from '../../lib/transport/frame-stream.js';
import { http2Settings } from '../../lib/transport/http2-settings.js';
import { widenSessionWindow } from '../../lib/transport/session-window.js';

export interface StreamPair {
  readonly near: ClientHttp2Stream;
  readonly far: ServerHttp2Stream;
  /** Breaks the TCP connection, as a lost network does. */
  breakSocket(): void;
  close(): Promise<void>;
}

/** `settings` are those of the far side. */
export async function streamPair(settings: Parameters<typeof createServer>[0] = {}): Promise<StreamPair> {
  const server = createServer({ settings: http2Settings(DEFAULT_WIRE_LIMITS), ...settings });
  server.on('session', (session) => {
    session.on('error', () => undefined);
    widenSessionWindow(session);
  });
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    settings: http2Settings(DEFAULT_WIRE_LIMITS),
  });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  widenSessionWindow(session);
  const near = session.request({ ':method': 'POST', ':path': '/channel' }, { endStream: false });
  const [far] = (await once(server, 'stream')) as [ServerHttp2Stream];
  far.on('error', () => undefined);
  near.on('error', () => undefined);
  far.respond({ ':status': 200 });
  await once(near, 'response');
  return {
    near,
    far,
    breakSocket: () => sockets.forEach((socket) => socket.destroy()),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      session.destroy();
      far.session?.destroy();
      await closed;
    },
  };
}

/** A reader that writes down what it is told. */
export class Reading implements FrameReader {
  readonly frames: Buffer[] = [];
  readonly oversize: number[] = [];
  ended = false;
  closes: (MeshError | undefined)[] = [];

  onFrame(payload: Buffer): void {
    this.frames.push(payload);
  }
  onOversize(declaredBytes: number): void {
    this.oversize.push(declaredBytes);
  }
  onEnd(): void {
    this.ended = true;
  }
  onClose(error: MeshError | undefined): void {
    this.closes.push(error);
  }

  get texts(): string[] {
    return this.frames.map(String);
  }
  get closed(): boolean {
    return this.closes.length > 0;
  }
}

export function limitsWith(limits: Partial<WireLimits> = {}): WireLimits {
  return { ...DEFAULT_WIRE_LIMITS, ...limits };
}
