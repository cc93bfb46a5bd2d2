/** Nest's own TCP transport. */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientProxyFactory, Transport, type MicroserviceOptions } from '@nestjs/microservices';
import type { Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { EchoController, eventsReceived } from './nest-controller.js';
import type { Client, Serving } from './peer.js';

@Module({ controllers: [EchoController] })
class ServerModule {}

export async function serve(): Promise<Serving> {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(ServerModule, {
    transport: Transport.TCP,
    options: { host: '127.0.0.1', port: 0 },
    logger: ['error', 'fatal'],
  });
  await app.listen();
  const { port } = app.unwrap<Server>().address() as AddressInfo;
  return { address: port, received: eventsReceived, close: () => app.close() };
}

export async function connect({ address }: Surroundings): Promise<Client> {
  const client = ClientProxyFactory.create({
    transport: Transport.TCP,
    options: { host: '127.0.0.1', port: address as number },
  });
  await client.connect();
  return { ...nestCalls(client), close: async () => void client.close() };
}
