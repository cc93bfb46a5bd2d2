/** Moleculer, broker to broker over its own TCP transporter; the client is told the server's address, not UDP. */
import { Readable } from 'node:stream';
import { once } from 'node:events';
import { ServiceBroker, type Context } from 'moleculer';
import { monotonicMs, type Surroundings } from '../program/protocol.js';
import { freePort } from '../servers/free-port.js';
import { itemOf, type Client, type Item, type Message, type Serving, type Total } from './peer.js';

const SERVER = 'bench-server';
/** Its own default, 1 MB, is just below a message of 1 MB. */
const MAX_PACKET_BYTES = 16 * 1024 * 1024;

export async function serve(): Promise<Serving> {
  const port = await freePort();
  const broker = brokerOf(SERVER, { port });
  let events = 0;
  let lastAtMs = 0;
  broker.createService({
    name: 'bench',
    actions: {
      echo: (ctx: Context<Message>) => ctx.params,
      items: (ctx: Context<{ count: number }>) => readableOf(ctx.params.count),
      total: (ctx: Context) => totalOf(ctx.params as Readable),
    },
    events: {
      seen: () => {
        events += 1;
        lastAtMs = monotonicMs();
      },
    },
  });
  await broker.start();
  return { address: port, received: () => ({ events, lastAtMs }), close: () => broker.stop() };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const broker = brokerOf(`bench-client-${process.pid}`, {
    urls: [`127.0.0.1:${address as number}/${SERVER}`],
  });
  await broker.start();
  await broker.waitForServices('bench');
  return {
    call: (message) => broker.call<Message, Message>('bench.echo', message),
    emit: (message) => broker.emit('seen', message),
    stream: async (count, take) => {
      const items = await broker.call<Readable, { count: number }>('bench.items', { count });
      items.on('data', take);
      await once(items, 'end');
    },
    upload: (items) => broker.call<Total, Readable>('bench.total', Readable.from(items)),
    close: () => broker.stop(),
  };
}

function brokerOf(nodeID: string, options: { port?: number; urls?: string[] }): ServiceBroker {
  return new ServiceBroker({
    nodeID,
    logger: false,
    transporter: {
      type: 'TCP',
      options: { udpDiscovery: false, useHostname: false, maxPacketSize: MAX_PACKET_BYTES, ...options },
    },
  });
}

function readableOf(count: number): Readable {
  return Readable.from(
    (function* () {
      for (let n = 0; n < count; n += 1) yield itemOf(n);
    })(),
  );
}

async function totalOf(items: Readable): Promise<Total> {
  let count = 0;
  let sum = 0;
  for await (const { n } of items as AsyncIterable<Item>) {
    count += 1;
    sum += n;
  }
  return { count, sum };
}
