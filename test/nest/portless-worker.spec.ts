/** Workers that open no port: Nest applications in processes of their own, which a gateway calls by their name. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MeshClientProxy, MeshError, MeshNode, MeshServer, roundRobin } from '../../lib/index.js';
import { listeningPortsOf } from '../support/listening-sockets.js';
import { compileApplication, type CompiledApplication } from './compiled-application.js';
import { Bench, until } from './nest-fixture.js';

const APPLICATION = `
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { setTimeout as delay } from 'node:timers/promises';
import { ChannelPattern, MeshModule, MeshServer } from './lib/index.js';

const [registry, name] = process.argv.slice(2);
const say = (line) => process.stdout.write(line + '\\n');

@Controller()
class WorkController {
  @MessagePattern('who')
  who() {
    return name;
  }
  @MessagePattern('slow')
  async slow(ms: number) {
    say('working');
    await delay(ms);
    return name + ' is done';
  }
  @MessagePattern('ask')
  ask(@Payload() data: unknown, @Ctx() ctx) {
    return ctx.client.call('twice', data);
  }
  @MessagePattern('count')
  async *count(to: number) {
    for (let n = 1; n <= to; n += 1) yield n;
  }
  @MessagePattern('sum')
  async sum(values: AsyncIterable<number>) {
    let sum = 0;
    for await (const value of values) sum += value;
    return sum;
  }
  @EventPattern('note')
  note(text: string) {
    say('note ' + text);
  }
  @ChannelPattern('echo')
  async *echo(channel) {
    for await (const value of channel) yield name + ': ' + value;
  }
}

@Module({
  imports: [MeshModule.forRoot({
    service: 'worker', registry, listen: false, connectTo: ['gateway'],
    heartbeatIntervalMs: 100, ttlMs: 1000, reconnect: { baseMs: 20, maxMs: 200 },
  })],
  controllers: [WorkController],
})
class WorkerModule {}

const app = await NestFactory.createMicroservice(WorkerModule, {
  inject: [MeshServer],
  useFactory: (strategy) => ({ strategy }),
  logger: false,
} as never);
app.enableShutdownHooks();
await app.listen();
say('ready');
`;

const TIMINGS = { heartbeatIntervalMs: 100, ttlMs: 1_000, reconnect: { baseMs: 20, maxMs: 200 } };

/** A worker in a process of its own. */
class Worker {
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;

  constructor(readonly child: ChildProcess) {
    for (const output of [child.stdout, child.stderr])
      if (output !== null) createInterface({ input: output }).on('line', (line) => this.lines.push(line));
    this.ended = once(child, 'exit');
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  said(line: string): Promise<void> {
    return until(() => this.lines.includes(line), `it says "${line}", but: ${this.lines.join('\n')}`, 20_000);
  }

  async close(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

describe('a worker that opens no port', () => {
  const bench = new Bench();
  let application: CompiledApplication;
  let folder = '';
  let registry = '';
  let workers: Worker[] = [];
  beforeAll(async () => {
    application = await compileApplication(APPLICATION);
  });
  afterAll(() => application.remove());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-portless-'));
    registry = `file:${folder}`;
    workers = [];
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.close()));
    await bench.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts a worker; it is connected once the gateway can call it. */
  async function start(name: string): Promise<Worker> {
    const worker = new Worker(application.run(registry, name));
    workers.push(worker);
    await worker.said('ready');
    return worker;
  }

  /** A gateway that listens, and its client for the workers. */
  async function gateway(): Promise<{ node: MeshNode; client: MeshClientProxy }> {
    const node = new MeshNode({ service: 'gateway', registry, picker: roundRobin, ...TIMINGS });
    const server = new MeshServer(node);
    server.addHandler('twice', (n: number) => Promise.resolve(2 * n));
    bench.keep(node);
    await new Promise<void>((resolve, reject) =>
      server.listen((error) => (error === undefined ? resolve() : reject(error))),
    );
    return { node, client: MeshClientProxy.over(node).to('worker') };
  }

  const connected = (client: MeshClientProxy, count: number): Promise<void> =>
    until(
      () => client.peers.filter(({ state }) => state === 'connected').length === count,
      `${count} workers are connected`,
      10_000,
    );

  async function names(client: MeshClientProxy, calls: number): Promise<string[]> {
    const answers: string[] = [];
    for (let n = 0; n < calls; n += 1) answers.push(await client.call<string>('who', {}));
    return answers.sort();
  }

  it('has no listening socket and no record, and is called by its name', async () => {
    const { node, client } = await gateway();
    const worker = await start('one');
    await expect(client.call('who', {})).resolves.toBe('one');
    expect(listeningPortsOf(worker.pid)).toEqual([]);
    // The same look at this process finds the port of the gateway.
    expect(listeningPortsOf(process.pid)).toContain(node.record.port);
    const records = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.json'),
    );
    expect(records).toEqual([join('gateway', `${node.id}.json`)]);
  });

  it('streams both ways, serves raw channels, hears broadcasts, and can call the gateway back', async () => {
    const { client } = await gateway();
    const worker = await start('one');
    const counted: number[] = [];
    for await (const n of client.stream<number>('count', 2_000)) counted.push(n);
    expect(counted).toHaveLength(2_000);
    expect(counted.at(-1)).toBe(2_000);
    async function* numbers(): AsyncGenerator<number> {
      for (let n = 1; n <= 100; n += 1) yield n;
    }
    await expect(client.call('sum', numbers())).resolves.toBe(5_050);
    const channel = await client.channel<string, string>('echo');
    await channel.send('hello');
    await channel.send('again');
    channel.end();
    const echoed: string[] = [];
    for await (const text of channel) echoed.push(text);
    expect(echoed).toEqual(['one: hello', 'one: again']);
    await expect(client.call('ask', 21)).resolves.toBe(42);
    const second = await start('two');
    await connected(client, 2);
    const reached = await client.broadcast('note', 'lunch');
    expect(reached).toHaveLength(2);
    await Promise.all([worker.said('note lunch'), second.said('note lunch')]);
  });

  it('takes turns with other workers and with nodes of its service that listen', async () => {
    const { client } = await gateway();
    await Promise.all([start('one'), start('two')]);
    const listening = new MeshServer({ service: 'worker', registry, ...TIMINGS });
    listening.addHandler('who', () => Promise.resolve('listening'));
    bench.keep(listening);
    await new Promise((resolve) => listening.listen(resolve));
    await names(client, 1);
    await until(() => client.peers.length === 3, 'all of them are known', 10_000);
    await names(client, 3);
    await connected(client, 3);
    expect(await names(client, 6)).toEqual(['listening', 'listening', 'one', 'one', 'two', 'two']);
  });

  it('fails its open calls at once when it is killed, and the next call goes to another', async () => {
    const { client } = await gateway();
    const worker = await start('one');
    const slow = client.call('slow', 60_000);
    await worker.said('working');
    await start('two');
    await connected(client, 2);
    worker.child.kill('SIGKILL');
    const error: unknown = await slow.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(MeshError.is(error) && error).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'unknown',
      service: 'worker',
    });
    expect(await names(client, 3)).toEqual(['two', 'two', 'two']);
    expect(client.peers).toHaveLength(1);
  });

  it('answers what it was given when it is told to stop, takes nothing new, and ends by itself', async () => {
    const { client } = await gateway();
    const worker = await start('one');
    await names(client, 1);
    const nodeId = client.peers[0]?.nodeId;
    await start('two');
    await connected(client, 2);
    const slow = client.to({ service: 'worker', nodeId }).call('slow', 400);
    await worker.said('working');
    worker.child.kill('SIGTERM');
    await until(() => client.peers.some(({ state }) => state === 'draining'), 'it says that it drains');
    expect(await names(client, 3)).toEqual(['two', 'two', 'two']);
    await expect(slow).resolves.toBe('one is done');
    expect(await worker.ended).toEqual([null, 'SIGTERM']);
    expect(worker.lines.filter((line) => line !== 'ready' && line !== 'working')).toEqual([]);
  });

  it('outlives its gateway, and finds the one that comes after it', async () => {
    const first = await gateway();
    const worker = await start('one');
    await expect(first.client.call('who', {})).resolves.toBe('one');
    await first.node.close();
    const second = await gateway();
    await expect(second.client.call('who', {})).resolves.toBe('one');
    expect(worker.child.exitCode).toBeNull();
  });
});
