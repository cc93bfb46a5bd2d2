/** A Nest microservice with the handlers of the benchmark. */
import { Module, type INestMicroservice, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { EchoController, eventsReceived } from './nest-controller.js';
import type { Serving } from './peer.js';

/** Starts it; `controllers` are those beside {@link EchoController}. */
export async function serveNest(
  options: MicroserviceOptions,
  ...controllers: readonly Type[]
): Promise<Serving & { app: INestMicroservice }> {
  @Module({ controllers: [EchoController, ...controllers] })
  class ServerModule {}

  const app = await NestFactory.createMicroservice<MicroserviceOptions>(ServerModule, {
    ...options,
    logger: ['error', 'fatal'],
  });
  await app.listen();
  return { app, address: null, received: eventsReceived, close: () => app.close() };
}
