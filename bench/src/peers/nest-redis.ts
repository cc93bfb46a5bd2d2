/** Nest's Redis transport, over a redis-server. */
import 'reflect-metadata';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { serveNest } from './nest-server.js';
import type { Client, Serving } from './peer.js';

export async function serve(surroundings: Surroundings): Promise<Serving> {
  const options = optionsOf(surroundings);
  const { app: _app, ...serving } = await serveNest({ transport: Transport.REDIS, options });
  return serving;
}

export async function connect(surroundings: Surroundings): Promise<Client> {
  const client = ClientProxyFactory.create({ transport: Transport.REDIS, options: optionsOf(surroundings) });
  await client.connect();
  return { ...nestCalls(client), close: async () => void (await client.close()) };
}

function optionsOf({ servers }: Surroundings): { host: string; port: number } {
  const { hostname, port } = new URL(servers['redis'] ?? '');
  return { host: hostname, port: Number(port) };
}
