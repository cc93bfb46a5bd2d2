/** Peers made of bare node:http2 that say exactly the headers and bytes which a test tells them, and remember all they get. */
import { once } from 'node:events';
import {
  connect,
  createSecureServer,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type Http2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
  type SecureServerOptions,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { eventually } from './eventually.js';

/** The bytes of one frame; anything but bytes is written as JSON. */
export function frame(payload: unknown): Buffer {
  const body = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

/** A length prefix alone. */
export function prefix(declaredBytes: number): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(declaredBytes);
  return head;
}

/** What a peer says of itself when it knows part 2. */
export function meshHeaders(nodeId: string): Record<string, string> {
  return { 'x-mesh-node-id': nodeId, 'x-mesh-version': '1' };
}

/** One stream of a raw peer, with everything that came on it. */
export class RawStream {
  /** The payloads that came, parsed. */
  readonly received: unknown[] = [];
  /** Bytes that came, frames or not. */
  bytes: Buffer = Buffer.alloc(0);
  /** True once the other side has ended its half. */
  ended = false;
  closed = false;

  constructor(
    readonly stream: Http2Stream,
    /** What the other side said when the stream opened. */
    readonly headers: IncomingHttpHeaders,
    reading = true,
  ) {
    stream.on('error', () => undefined);
    stream.once('end', () => (this.ended = true));
    stream.once('close', () => (this.closed = true));
    if (reading) this.read();
  }

  /** Begins to read. */
  read(): void {
    let rest: Buffer = Buffer.alloc(0);
    this.stream.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
        const end = 4 + rest.readUInt32BE();
        this.received.push(JSON.parse(rest.subarray(4, end).toString()));
        rest = rest.subarray(end);
      }
    });
  }

  /** Writes these bytes as they are. */
  write(bytes: Uint8Array): void {
    this.stream.write(bytes);
  }

  /** Writes frames, one for each payload, in one write. */
  send(...payloads: unknown[]): void {
    this.write(Buffer.concat(payloads.map(frame)));
  }

  /** The first payload that fits, as soon as it has come. */
  async next<T = unknown>(
    fits: (packet: Record<string, unknown>) => boolean,
    timeoutMs?: number,
  ): Promise<T> {
    const find = (): unknown => this.received.find((value) => isObject(value) && fits(value));
    return (await eventually('a packet that fits', find, timeoutMs)) as T;
  }

  /** The answer to the request with that id. */
  answer(id: unknown): Promise<Record<string, unknown>> {
    return this.next((packet) => packet['id'] === id && packet['isDisposed'] === true);
  }
}

/** A peer that listens. */
export class RawServer {
  /** Every stream that was opened to it, in order. */
  readonly streams: RawStream[] = [];
  readonly sessions = new Set<Http2Session>();
  /** How many sessions there ever were. */
  sessionCount = 0;

  private constructor(
    private readonly server: Http2Server | Http2SecureServer,
    private readonly onStream: (stream: RawStream, raw: ServerHttp2Stream) => void,
  ) {}

  /** Listens on a free port of 127.0.0.1, or the one given. `onStream` answers; without it each stream is accepted. */
  static async start(
    onStream: (stream: RawStream, raw: ServerHttp2Stream) => void = (_, raw) =>
      raw.respond({ ':status': 200 }),
    options: SecureServerOptions & { port?: number; reading?: boolean } = {},
  ): Promise<RawServer> {
    const { port = 0, reading = true, ...rest } = options;
    const server = rest.key === undefined ? createServer(rest as object) : createSecureServer(rest);
    const peer = new RawServer(server, onStream);
    server.on('session', (session: Http2Session) => {
      peer.sessionCount += 1;
      peer.sessions.add(session);
      session.on('error', () => undefined);
      session.once('close', () => peer.sessions.delete(session));
    });
    server.on('sessionError', () => undefined);
    server.on('stream', (raw: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const stream = new RawStream(raw, headers, reading);
      peer.streams.push(stream);
      peer.onStream(stream, raw);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return peer;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The stream opened as number `index`, as soon as it is there. */
  stream(index = 0): Promise<RawStream> {
    return eventually(`stream ${index} at the raw peer`, () => this.streams[index]);
  }

  /** Breaks all connections. */
  breakSessions(): void {
    for (const session of this.sessions) session.destroy();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.breakSessions();
    await closed;
  }
}

/** A peer that dials. */
export class RawClient {
  private constructor(readonly session: ClientHttp2Session) {}

  static async dial(
    port: number,
    options: SecureClientSessionOptions & { tls?: boolean } = {},
  ): Promise<RawClient> {
    const { tls = false, ...rest } = options;
    const session = connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, rest);
    const client = new RawClient(session);
    await once(session, 'remoteSettings');
    session.on('error', () => undefined);
    return client;
  }

  /** Opens a stream with exactly these headers beside method, path and `x-service-name`; `undefined` leaves one out. */
  request(headers: Record<string, string | undefined> = {}, endStream = false): ClientHttp2Stream {
    const all: OutgoingHttpHeaders = { ':method': 'POST', ':path': '/channel', 'x-service-name': 'raw-peer' };
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined) delete all[name];
      else all[name] = value;
    }
    const stream = this.session.request(all, { endStream });
    stream.on('error', () => undefined);
    return stream;
  }

  /** Opens a channel and waits for the answer. */
  async channel(headers: Record<string, string | undefined> = {}, reading = true): Promise<RawStream> {
    const stream = this.request(headers);
    const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    return new RawStream(stream, answer, reading);
  }

  /** Opens a stream that the other side refuses: its status and body. */
  async refused(headers: Record<string, string | undefined> = {}, endStream = true): Promise<Refusal> {
    const stream = this.request(headers, endStream);
    const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    let body = '';
    for await (const chunk of stream) body += String(chunk);
    return { status: Number(answer[':status']), headers: answer, body };
  }

  async close(): Promise<void> {
    if (this.session.destroyed) return;
    const closed = once(this.session, 'close');
    this.session.destroy();
    await closed;
  }
}

/** An answer other than 200. */
export interface Refusal {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
