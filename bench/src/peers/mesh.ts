/** The mesh: handlers in a Nest controller, calls by MeshClientProxy, every option at its default. */
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { Module } from '@nestjs/common';
import { MeshClientProxy, MeshServer, type MeshOptions } from 'nestjs-mesh';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { EchoController, eventsReceived } from './nest-controller.js';
import type { Client, Serving } from './peer.js';

const SERVICE = 'bench-server';

@Module({ controllers: [EchoController] })
class ServerModule {}

export async function serve(surroundings: Surroundings): Promise<Serving> {
  const strategy = new MeshServer({ service: SERVICE, ...options(surroundings) });
  const app = await NestFactory.createMicroservice(ServerModule, { strategy, logger: ['error', 'fatal'] });
  await app.listen();
  return { address: null, received: eventsReceived, close: () => app.close() };
}

export async function connect(surroundings: Surroundings): Promise<Client> {
  const client = new MeshClientProxy({ service: 'bench-client', to: SERVICE, ...options(surroundings) });
  await client.connect();
  return { ...nestCalls(client), close: () => client.close() };
}

function options({ servers, settings, folder }: Surroundings): Pick<MeshOptions, 'registry' | 'tls'> {
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const registry = servers['redis'] ?? `file:${folder}/registry`;
  if ((settings as { tls?: boolean } | null)?.tls !== true) return { registry };
  return { registry, tls: { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') } };
}
