/** Nest's own TCP transport. */
import 'reflect-metadata';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import type { AddressInfo, Server } from 'node:net';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { serveNest } from './nest-server.js';
import type { Client, Serving } from './peer.js';

export async function serve(): Promise<Serving> {
  const options = { host: '127.0.0.1', port: 0 };
  const { app, ...serving } = await serveNest({ transport: Transport.TCP, options });
  const { port } = app.unwrap<Server>().address() as AddressInfo;
  return { ...serving, address: port };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const client = ClientProxyFactory.create({
    transport: Transport.TCP,
    options: { host: '127.0.0.1', port: address as number },
  });
  await client.connect();
  return { ...nestCalls(client), close: async () => void client.close() };
}
