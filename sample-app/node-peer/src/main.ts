/** Starts the Nest half of the walkthrough: joins the mesh as `node-peer`, then talks with `python-peer`. */
import { ConsoleLogger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MeshServer } from 'nestjs-mesh';
import { AppModule } from './app.module.js';
import { Chat } from './chat.js';
import { readSettings } from './settings.js';

async function main(): Promise<void> {
  const { httpHost, httpPort } = readSettings();
  // Nest tells only what is wrong, so that the conversation can be read.
  const logger = new ConsoleLogger({
    logLevels: ['warn', 'error', 'fatal'],
    colors: process.stdout.isTTY === true,
  });
  const app = await NestFactory.create(AppModule, { logger, abortOnError: false });
  app.enableShutdownHooks([], { useProcessExit: true });
  app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
  try {
    await app.init();
    await app.startAllMicroservices();
    await app.listen(httpPort, httpHost);
  } catch (error) {
    await app.close();
    throw error;
  }
  console.log(`Registered as 'node-peer'. Try ${await app.getUrl()}/sum?a=2&b=40`);
  app.get(Chat).start();
}

main().catch((error: unknown) => {
  console.error(`Cannot start: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
