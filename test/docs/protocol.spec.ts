/** docs/protocol.md agrees with the code: every byte it shows, and every code, header and limit it names. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Http2Server } from 'node:http2';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { MeshServer } from '../../lib/index.js';
import { HTTP_STATUS_OF_ERROR_CODE } from '../../lib/protocol/error-code.js';
import { encodeFrame } from '../../lib/protocol/frame.js';
import { HEADER } from '../../lib/protocol/headers.js';
import { DEFAULT_WIRE_LIMITS, UNTRUSTED_LENGTH_FACTOR } from '../../lib/protocol/limits.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { MSGPACK_CODEC } from '../../lib/protocol/msgpack-codec.js';
import { packetKind } from '../../lib/protocol/packet.js';
import { readNodeRecord } from '../../lib/registry/node-record.js';
import {
  EPOCH_KEY,
  EVENTS_CHANNEL,
  eventsChannel,
  indexKey,
  logKey,
  recordKey,
  SCAN_KEY,
  SCAN_LOCK_KEY,
  SUBSCRIBERS_KEY,
} from '../../lib/registry/redis/redis-keys.js';
import { MAX_HTTP2_FRAME_BYTES, STREAM_WINDOW_BYTES } from '../../lib/transport/http2-settings.js';
import { SESSION_WINDOW_BYTES } from '../../lib/transport/session-window.js';
import { ROOT } from './snippet-project.js';
import { snippetsOf } from './snippets.js';

const DOC = readFileSync(join(ROOT, 'docs', 'protocol.md'), 'utf8');
const snippets = snippetsOf(DOC);

/** The packets that are shown, each with the bytes behind it. */
const packets = snippets.flatMap(({ code, language }, at) => {
  const next = snippets[at + 1];
  if (language !== 'text' || next?.language !== 'hex') return [];
  return [{ text: code.trim(), hex: next.code.replaceAll(/\s/g, '') }];
});

describe('docs/protocol.md', () => {
  it.each(packets)('shows the bytes of the packet $text', ({ text, hex }) => {
    expect(encodeFrame(text).toString('hex')).toBe(hex);
    expect(packetKind(JSON.parse(text))).toBeDefined();
  });

  it('shows each kind of packet that this version sends', () => {
    const kinds = new Set(packets.map(({ text }) => packetKind(JSON.parse(text))));
    expect(kinds).toEqual(
      new Set(['request', 'response', 'event', 'cancel', 'placeholder', 'open', 'drain', 'load']),
    );
  });

  it('shows an error of the transport and an error of a handler that readers tell apart', () => {
    const errors = packets.flatMap(({ text }) => (JSON.parse(text) as { err?: unknown }).err ?? []);
    expect(errors.map((err) => MeshError.fromWire(err)?.code)).toEqual([undefined, 'DEADLINE_EXCEEDED']);
  });

  it('shows a frame in MessagePack that is one', () => {
    const [json = '', ...hex] =
      snippets
        .find(({ language }) => language === 'msgpack')
        ?.code.trim()
        .split('\n') ?? [];
    const frame = encodeFrame(MSGPACK_CODEC.encode(JSON.parse(json)));
    expect(frame.toString('hex')).toBe(hex.join('').replaceAll(' ', ''));
  });

  it('names every error code with its HTTP status, and no other', () => {
    const rows = [...DOC.matchAll(/^\| `([A-Z_]+)`\s+\| (\d{3}) /gm)].map(([, code, status]) => [
      code,
      Number(status),
    ]);
    expect(Object.fromEntries(rows)).toEqual(HTTP_STATUS_OF_ERROR_CODE);
  });

  it('names every header of the mesh', () => {
    const missing = Object.values(HEADER).filter((name) => !DOC.includes(`| \`${name}\``));
    expect(missing).toEqual([]);
  });

  it('names every key of the registry', () => {
    const name = '{service_name}';
    const keys = [
      recordKey(name, '{id}'),
      indexKey(name),
      logKey(name),
      SCAN_KEY,
      SCAN_LOCK_KEY,
      eventsChannel(name),
      EPOCH_KEY,
      EVENTS_CHANNEL,
      SUBSCRIBERS_KEY,
    ];
    expect(keys.filter((key) => !DOC.includes(key))).toEqual([]);
  });

  it('shows a record that readers accept', () => {
    const json = snippets.find(({ language }) => language === 'json')?.code ?? '';
    const value = JSON.parse(json) as { id: string; service_name: string };
    expect(readNodeRecord(value, { id: value.id, service: value.service_name }).fault).toBeUndefined();
  });

  it('gives the limits and the HTTP/2 settings of the code', () => {
    const { incompleteFrameTimeoutMs, maxFrameBytes, ...counts } = DEFAULT_WIRE_LIMITS;
    const numbers = [
      maxFrameBytes,
      maxFrameBytes * UNTRUSTED_LENGTH_FACTOR,
      ...Object.values(counts),
      STREAM_WINDOW_BYTES,
      SESSION_WINDOW_BYTES,
      MAX_HTTP2_FRAME_BYTES,
    ];
    expect(numbers.filter((number) => !new RegExp(`\\b${number}\\b`).test(DOC))).toEqual([]);
    expect(DOC).toContain(`| ${incompleteFrameTimeoutMs / 1_000} s `);
  });
});

@Controller()
class OrdersController {
  @MessagePattern('orders.total')
  total(@Payload() prices: number[]): number {
    return prices.reduce((sum, price) => sum + price, 0);
  }

  @MessagePattern('orders.watch')
  async *watch(@Payload() count: number): AsyncGenerator<string> {
    for (let n = 1; n <= count; n += 1) yield `order ${n}`;
  }
}

describe('the session in docs/protocol.md, byte by byte', () => {
  let app: INestMicroservice | undefined;
  let socket: Socket | undefined;

  afterEach(async () => {
    socket?.destroy();
    await app?.close();
  });

  it('is what a service answers to exactly these bytes', async () => {
    const module = await Test.createTestingModule({ controllers: [OrdersController] }).compile();
    const server = new MeshServer({ service: 'orders', registry: `memory:${randomUUID()}` });
    app = module.createNestMicroservice({ strategy: server, logger: false });
    await app.listen();
    const { port } = server.unwrap<Http2Server>().address() as AddressInfo;
    socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const received = new StreamOne(socket);

    const script = snippets.find(({ language }) => language === 'session')?.code ?? '';
    let expected = '';
    for (const line of script.trim().split('\n')) {
      const [side, ...words] = (line.split('|', 1)[0] ?? '').trim().split(/\s+/);
      const hex = words.join('');
      if (side === 'C') socket.write(Buffer.from(hex, 'hex'));
      else if (hex === 'END_STREAM') await received.until(() => received.ended);
      else {
        expected += hex;
        const bytes = expected.length / 2;
        await received.until(() => received.payload.length >= bytes);
      }
    }
    expect(received.payload.toString('hex')).toBe(expected);
  });
});

const FRAME_HEADER_BYTES = 9;
const END_STREAM = 1;

/** Reads the frames of HTTP/2 (RFC 9113, section 4.1) as far as stream 1 needs it. */
class StreamOne {
  payload = Buffer.alloc(0);
  ended = false;
  private bytes = Buffer.alloc(0);
  private look: () => void = () => undefined;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.read();
      this.look();
    });
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.look = () => {
        if (condition()) resolve();
      };
      this.look();
    });
  }

  private read(): void {
    while (this.bytes.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.bytes.readUIntBE(0, 3);
      if (this.bytes.length < end) return;
      const [type, flags, stream] = [this.bytes[3], this.bytes[4] ?? 0, this.bytes.readUInt32BE(5)];
      if (type === 0 && stream === 1) {
        this.payload = Buffer.concat([this.payload, this.bytes.subarray(FRAME_HEADER_BYTES, end)]);
        if ((flags & END_STREAM) !== 0) this.ended = true;
      }
      this.bytes = this.bytes.subarray(end);
    }
  }
}
