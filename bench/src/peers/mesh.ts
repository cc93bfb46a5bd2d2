/** The mesh: handlers in a Nest controller, calls by MeshClientProxy, every option at its default. */
import 'reflect-metadata';
import { Controller } from '@nestjs/common';
import { Payload, MessagePattern } from '@nestjs/microservices';
import { ChannelPattern, MeshChannel, MeshClientProxy, MeshServer, type MeshOptions } from 'nestjs-mesh';
import { from, lastValueFrom } from 'rxjs';
import type { Surroundings } from '../program/protocol.js';
import { meshTls } from './mesh-tls.js';
import { nestCalls } from './nest-client.js';
import { serveNest } from './nest-server.js';
import { itemOf, type Client, type Item, type Serving, type Total } from './peer.js';

/** What the other Nest transports have no word for. */
@Controller()
class MeshOnlyController {
  @MessagePattern('total')
  async total(@Payload() items: AsyncIterable<Item>): Promise<Total> {
    let count = 0;
    let sum = 0;
    for await (const { n } of items) {
      count += 1;
      sum += n;
    }
    return { count, sum };
  }

  @ChannelPattern('exchange')
  async exchange(channel: MeshChannel<Item, Item>): Promise<void> {
    await exchangeItems(channel, Number(channel.metadata['count']));
  }
}

export async function serve(surroundings: Surroundings): Promise<Serving> {
  // The peers share a registry, and each client must reach its own server only.
  const service = `bench-server-${process.pid}`;
  const strategy = new MeshServer({ service, ...options(surroundings) });
  const { app: _app, ...serving } = await serveNest({ strategy }, MeshOnlyController);
  return { ...serving, address: service };
}

export async function connect(surroundings: Surroundings): Promise<Client> {
  const to = surroundings.address as string;
  const client = new MeshClientProxy({ service: 'bench-client', to, ...options(surroundings) });
  await client.connect();
  return {
    ...nestCalls(client),
    upload: (items) => lastValueFrom(client.send<Total>('total', from(items))),
    duplex: async (count, take) => {
      const metadata = { count: String(count) };
      const channel = await client.channel<Item, Item>('exchange', { metadata });
      await exchangeItems(channel, count, take);
    },
    close: () => client.close(),
  };
}

/** Sends and takes at once, until both sides have ended their halves. */
async function exchangeItems(
  channel: MeshChannel<Item, Item>,
  count: number,
  take: (item: Item) => void = () => undefined,
): Promise<void> {
  const sendAll = async (): Promise<void> => {
    for (let n = 0; n < count; n += 1) await channel.send(itemOf(n));
    channel.end();
  };
  const takeAll = async (): Promise<void> => {
    for await (const item of channel) take(item);
  };
  await Promise.all([sendAll(), takeAll()]);
}

function options({ servers, settings, folder }: Surroundings): Pick<MeshOptions, 'registry' | 'tls'> {
  const registry = servers['redis'] ?? `file:${folder}/registry`;
  if ((settings as { tls?: boolean } | null)?.tls !== true) return { registry };
  return { registry, tls: meshTls(folder) };
}
