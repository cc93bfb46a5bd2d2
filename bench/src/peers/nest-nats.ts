/** Nest's NATS transport, over a nats-server of its own. */
import 'reflect-metadata';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { serveNest } from './nest-server.js';
import type { Client, Serving } from './peer.js';

export async function serve({ servers }: Surroundings): Promise<Serving> {
  const options = { servers: [servers['nats'] ?? ''] };
  const { app: _app, ...serving } = await serveNest({ transport: Transport.NATS, options });
  return serving;
}

export async function connect({ servers }: Surroundings): Promise<Client> {
  const options = { servers: [servers['nats'] ?? ''] };
  const client = ClientProxyFactory.create({ transport: Transport.NATS, options });
  await client.connect();
  return { ...nestCalls(client), close: async () => void (await client.close()) };
}
