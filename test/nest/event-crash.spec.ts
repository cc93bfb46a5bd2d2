/** Events between Nest applications in processes of their own, through real registries: published, and lost in a crash. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastValueFrom } from 'rxjs';
import { RedisServer } from '../support/redis-server.js';
import { compileApplication, type CompiledApplication } from './compiled-application.js';
import { useBench } from './nest-fixture.js';

const APPLICATION = `
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern } from '@nestjs/microservices';
import { MeshModule, MeshServer } from './lib/index.js';

const [service, registry, pattern] = process.argv.slice(2);
const say = (word: string): void => void process.stdout.write(word + '\\n');

@Controller()
class EventController {
  @EventPattern<unknown>(pattern)
  quick(data: unknown): void {
    say('quick ' + JSON.stringify(data));
  }
  @EventPattern<unknown>('hang')
  hang(): Promise<void> {
    say('hanging');
    return new Promise(() => undefined);
  }
}

@Module({ imports: [MeshModule.forRoot({ service, registry })], controllers: [EventController] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: false });
app.connectMicroservice({ strategy: app.get(MeshServer) });
await app.startAllMicroservices();
await app.init();
say('ready');
`;

describe('events to applications in other processes', () => {
  const bench = useBench();
  let application: CompiledApplication;
  let redis: RedisServer;
  let folder = '';
  const children: { readonly child: ChildProcess; said: string }[] = [];

  beforeAll(async () => {
    [application, redis] = await Promise.all([compileApplication(APPLICATION), RedisServer.start()]);
  });
  afterAll(async () => {
    await redis.stop();
    await application.remove();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-events-'));
  });
  afterEach(async () => {
    for (const { child } of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  const run = async (service: string, registry: string, pattern: string) => {
    const child = application.run(service, registry, pattern);
    const entry = { child, said: '' };
    children.push(entry);
    child.stdout?.on('data', (chunk: Buffer) => (entry.said += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (entry.said += chunk.toString()));
    const says = async (word: string): Promise<void> => {
      const giveUpAt = performance.now() + 15_000;
      while (!entry.said.includes(word)) {
        if (performance.now() > giveUpAt) throw new Error(`it never said "${word}", but: ${entry.said}`);
        // Another process; nobody tells when it is so far.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    await says('ready');
    return { child, says };
  };

  it.each(['redis', 'file'])(
    'reach one of each service that announces them, by a client that was never connected: %s',
    async (kind) => {
      const registry = kind === 'redis' ? redis.url : `file:${folder}`;
      const suffix = `-${kind}`;
      const [mail, audit] = await Promise.all([
        run(`mail${suffix}`, registry, 'user.created'),
        run(`audit${suffix}`, registry, 'user.>'),
        run(`other${suffix}`, registry, 'order.*'),
      ]);
      const client = bench.client({ registry });
      const receipts = await client.with({ ack: 'handled' }).publish('user.created', { n: 1 });
      expect(receipts.map(({ service }) => service).toSorted()).toEqual([`audit${suffix}`, `mail${suffix}`]);
      await Promise.all([mail.says('quick {"n":1}'), audit.says('quick {"n":1}')]);
      expect(children[2]?.said).not.toContain('quick');
    },
    60_000,
  );

  it('are lost for the sender when the process is killed between receiving and handling them', async () => {
    const registry = `file:${folder}`;
    const { child, says } = await run('service', registry, 'user.created');
    const client = bench.client({ registry, to: 'service' });
    await expect(lastValueFrom(client.with({ ack: 'received' }).emit('hang', {}))).resolves.toBeUndefined();
    const handled = lastValueFrom(client.with({ ack: 'handled' }).emit('hang', {})).catch(
      (error: unknown) => error,
    );
    await says('hanging\nhanging');
    child.kill('SIGKILL');
    expect(await handled).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown', pattern: 'hang' });
    expect(client.unwrap().status.events).toMatchObject({ sent: 2, acknowledged: 1, lost: 1 });
  }, 60_000);
});
