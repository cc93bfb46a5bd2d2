/** Calls over a floor link: the packets of Nest, one Map of open calls, and no frame work around them. */
import type { Duplex } from 'node:stream';
import { once } from 'node:events';
import { monotonicMs, type Received } from '../program/protocol.js';
import { FloorLink } from './floor-link.js';
import { itemOf, type Client, type Item, type Message, type Total } from './peer.js';

interface Packet {
  readonly id?: number;
  readonly pattern?: string;
  readonly data?: unknown;
  readonly response?: unknown;
  readonly isDisposed?: boolean;
}

/** What a stream is for: `calls` is the one long-lived; the others are opened for one piece of work. */
export type Purpose = 'calls' | 'total' | 'exchange';

let events = 0;
let lastAtMs = 0;

/** The events that this process has counted. */
export function floorReceived(): Received {
  return { events, lastAtMs };
}

/** The server's side of one stream. */
export function serveStream(stream: Duplex, purpose: Purpose, count: number): void {
  if (purpose === 'calls') serveCalls(stream);
  else if (purpose === 'total') serveTotal(stream);
  else {
    const link = new FloorLink(stream, () => undefined);
    void link.sendAll(count, itemOf);
  }
}

/** A client on a long-lived stream; `open` makes further ones. */
export function floorClient(
  open: (purpose: Purpose, count: number) => Duplex,
  close: () => Promise<void>,
): Client {
  const waiting = new Map<number, (packet: Packet) => void>();
  let lastId = 0;
  const link = new FloorLink(open('calls', 0), (value) => {
    const packet = value as Packet;
    waiting.get(packet.id ?? 0)?.(packet);
  });
  const request = (pattern: string, data: unknown, onPacket: (packet: Packet) => void): void => {
    const id = ++lastId;
    waiting.set(id, (packet) => {
      if (packet.isDisposed === true) waiting.delete(id);
      onPacket(packet);
    });
    link.send({ id, pattern, data });
  };
  return {
    call: (message) =>
      new Promise((resolve) => request('echo', message, ({ response }) => resolve(response as Message))),
    emit: async (message) => {
      link.send({ pattern: 'seen', data: message });
      if (link.congested) await link.drained();
    },
    stream: (count, take) =>
      new Promise((resolve) =>
        request('items', count, ({ response, isDisposed }) => {
          if (isDisposed === true) resolve();
          else take(response as Item);
        }),
      ),
    upload: async (items) => {
      const values = [...items];
      return new Promise<Total>((resolve) => {
        const upload = new FloorLink(open('total', 0), (value) => resolve(value as Total));
        void upload.sendAll(values.length, (n) => values[n]);
      });
    },
    duplex: async (count, take) => {
      const exchange = new FloorLink(open('exchange', count), (value) => take(value as Item));
      await Promise.all([once(exchange.stream, 'end'), exchange.sendAll(count, itemOf)]);
    },
    close,
  };
}

function serveCalls(stream: Duplex): void {
  const link = new FloorLink(stream, (value) => {
    const { id, pattern, data } = value as Packet;
    if (pattern === 'echo') link.send({ id, response: data, isDisposed: true });
    else if (pattern === 'items') void answerItems(link, id, data as number);
    else if (pattern === 'seen') {
      events += 1;
      lastAtMs = monotonicMs();
    }
  });
}

async function answerItems(link: FloorLink, id: number | undefined, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    link.send({ id, response: itemOf(n) });
    if (n % 1_024 === 1_023) await new Promise((resolve) => setImmediate(resolve));
    if (link.congested) await link.drained();
  }
  link.send({ id, isDisposed: true });
}

function serveTotal(stream: Duplex): void {
  let count = 0;
  let sum = 0;
  const link = new FloorLink(stream, (value) => {
    count += 1;
    sum += (value as Item).n;
  });
  stream.once('end', () => {
    link.send({ count, sum });
    link.end();
  });
}
