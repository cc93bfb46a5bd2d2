/**
 * A Nest node that writes down each call that its handlers are given, at once: what is written outlives a SIGKILL.
 * `node.js SETTINGS`, a JSON text of NodeSettings. Prints `ready`; SIGTERM drains it, and it ends with its standard input.
 */
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { openSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { MeshServer, type MeshLogger } from '../../../lib/index.js';
import type { NodeSettings } from '../settings.js';
import { answerUsage, endWithInput } from './usage.js';

const settings = JSON.parse(process.argv[2] ?? '{}') as NodeSettings;
const { name, ledger, workMs, maxConcurrency = Infinity, host, options } = settings;
const file = openSync(ledger, 'a');
const note = (kind: string, id: string): void => void writeSync(file, `${kind} ${id} ${Date.now()}\n`);
const limits = maxConcurrency === Infinity ? {} : { maxConcurrency };

interface Asked {
  readonly id: string;
  readonly n: number;
}

@Controller()
class WorkController {
  @MessagePattern('work', limits)
  async work({ id, n }: Asked) {
    note('work', id);
    await delay(workMs);
    return { id, twice: 2 * n, node: name };
  }

  @MessagePattern('read', { idempotent: true })
  async read({ id, n }: Asked) {
    note('read', id);
    await delay(workMs);
    return { id, twice: 2 * n, node: name };
  }

  @MessagePattern('stream', { idempotent: true })
  async *stream({ id, n }: Asked) {
    note('stream', id);
    for (let item = 0; item < 5; item += 1) {
      await delay(workMs);
      yield { id, twice: 2 * n, item, node: name };
    }
  }

  /** Told at its end: an event that was acknowledged must stand here. */
  @EventPattern('acked')
  async acked({ id }: Asked) {
    await delay(workMs);
    note('acked', id);
  }

  @EventPattern('event')
  event({ id }: Asked) {
    note('event', id);
  }
}

@Module({ controllers: [WorkController] })
class NodeModule {}

const say = (message: string): void => void process.stderr.write(`${name}: ${message}\n`);
const logger: MeshLogger = { log: say, warn: say, error: say, debug: () => undefined };

async function start(): Promise<void> {
  const server = new MeshServer({ ...options, ...(host === undefined ? {} : { host }), logger });
  const app = await NestFactory.createMicroservice(NodeModule, {
    strategy: server,
    logger: false,
    abortOnError: false,
  });
  try {
    await app.listen();
  } catch (error) {
    // As a supervisor would: a node that cannot reach its registry is started again.
    say(`started again after: ${String(error)}`);
    await app.close();
    await delay(200);
    return start();
  }
  answerUsage(server);
  process.once('SIGTERM', () => void app.close().then(() => process.exit(0)));
  process.stdout.write('ready\n');
}

endWithInput();
await start();
