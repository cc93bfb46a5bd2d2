/** Signals: an application with `enableShutdownHooks()` leaves the mesh in order, in a process of its own. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileApplication, type CompiledApplication } from './compiled-application.js';
import { useBench } from './nest-fixture.js';

const APPLICATION = `
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessagePattern } from '@nestjs/microservices';
import { setTimeout as delay } from 'node:timers/promises';
import { MeshModule, MeshServer } from './lib/index.js';

const [kind, registry] = process.argv.slice(2);

@Controller()
class WorkController {
  @MessagePattern('work')
  async work(ms: number): Promise<string> {
    process.stdout.write('working\\n');
    await delay(ms);
    return 'done';
  }
}

@Module({ imports: [MeshModule.forRoot({ service: 'service', registry })], controllers: [WorkController] })
class AppModule {}

if (kind === 'hybrid') {
  const app = await NestFactory.create(AppModule, { logger: false });
  app.enableShutdownHooks();
  app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
  await app.init();
  await app.startAllMicroservices();
} else {
  const app = await NestFactory.createMicroservice(AppModule, {
    inject: [MeshServer],
    useFactory: (strategy: MeshServer) => ({ strategy }),
    logger: false,
  } as never);
  app.enableShutdownHooks();
  await app.listen();
}
process.stdout.write('ready\\n');
`;

describe('an application that gets a signal', () => {
  const bench = useBench();
  let application: CompiledApplication;
  let folder = '';
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    application = await compileApplication(APPLICATION);
  });
  afterAll(() => application.remove());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-signals-'));
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  const said = async (word: string): Promise<void> => {
    for await (const chunk of child?.stdout?.iterator({ destroyOnReturn: false }) ?? []) {
      if (String(chunk).includes(word)) return;
    }
    throw new Error(`the application ended without saying ${JSON.stringify(word)}`);
  };
  const records = (): string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));

  it.each([
    ['hybrid', 'SIGTERM'],
    ['hybrid', 'SIGINT'],
    ['standalone', 'SIGTERM'],
  ] as const)(
    'answers what is open, leaves no record and ends by the signal: %s, %s',
    async (kind, signal) => {
      const registry = `file:${folder}`;
      child = application.run(kind, registry);
      const errors: string[] = [];
      child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
      const ended = once(child, 'exit');
      await said('ready');
      expect(records()).toHaveLength(1);
      const call = bench.client({ registry, to: 'service' }).call('work', 300);
      await said('working');
      child.kill(signal);
      await expect(call).resolves.toBe('done');
      // Nest ends the process by the same signal once its hooks have run.
      await expect(ended).resolves.toEqual([null, signal]);
      expect(records()).toEqual([]);
      expect(errors.join('')).toBe('');
    },
  );
});
