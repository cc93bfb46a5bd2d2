/** A peer that speaks the wire by hand: it sees every packet that leaves a service, also those a client would drop. */
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { MeshServer } from '../../lib/index.js';

/** A packet as it came. */
export type WirePacket = Record<string, unknown>;

export class WirePeer {
  /** Everything that has come so far. */
  readonly packets: WirePacket[] = [];
  private rest: Buffer = Buffer.alloc(0);
  private waiting: { check: () => boolean; resolve: () => void }[] = [];

  private constructor(
    private readonly session: ClientHttp2Session,
    private readonly stream: ClientHttp2Stream,
  ) {
    stream.on('data', (chunk: Buffer) => this.read(chunk));
    stream.on('error', () => undefined);
  }

  /** Opens a packet channel to a service that listens; `headers` beside those of a peer that knows the whole protocol. */
  static async open(server: MeshServer, headers: Record<string, string> = {}): Promise<WirePeer> {
    const { port } = server.unwrap<{ address(): AddressInfo }>().address();
    const session = connect(`http://127.0.0.1:${port}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/channel',
      'x-service-name': 'wire-peer',
      'x-mesh-version': '1',
      ...headers,
    });
    const peer = new WirePeer(session, stream);
    await once(stream, 'response');
    return peer;
  }

  send(packet: unknown): void {
    const payload = Buffer.from(JSON.stringify(packet));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(payload.length);
    this.stream.write(Buffer.concat([length, payload]));
  }

  /** The packets with that id, once one of them is the last, and an answer to a later call shows that no more follow. */
  async answerTo(
    id: number,
    pattern: unknown,
    data: unknown = {},
    more: WirePacket = {},
  ): Promise<WirePacket[]> {
    this.send({ id, pattern, data, ...more });
    await this.when(() => this.of(id).some((packet) => packet['isDisposed'] === true));
    const after = `after-${id}`;
    this.send({ id: after, pattern: 'there is no such pattern', data: {} });
    await this.when(() => this.of(after).length > 0);
    return this.of(id);
  }

  /** The packets with that id, in the order in which they came, without the id. */
  of(id: number | string): WirePacket[] {
    return this.packets
      .filter((packet) => packet['id'] === id)
      .map((packet) => Object.fromEntries(Object.entries(packet).filter(([name]) => name !== 'id')));
  }

  /** Resolves when `check` holds after a packet has come. */
  when(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ check, resolve }));
  }

  async close(): Promise<void> {
    this.session.destroy();
    if (!this.session.closed) await once(this.session, 'close');
  }

  private read(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    while (this.rest.length >= 4 && this.rest.length >= 4 + this.rest.readUInt32BE()) {
      const end = 4 + this.rest.readUInt32BE();
      this.packets.push(JSON.parse(this.rest.subarray(4, end).toString()) as WirePacket);
      this.rest = this.rest.subarray(end);
    }
    const { waiting } = this;
    this.waiting = waiting.filter(({ check }) => !check());
    for (const waiter of waiting) if (!this.waiting.includes(waiter)) waiter.resolve();
  }
}
