/** What every test of `lib/nest/` needs: a service with given controllers, a client for it, and nothing left behind. */
import { afterEach } from '@jest/globals';
import type { INestMicroservice, LoggerService, ModuleMetadata } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { lastValueFrom, toArray, type Observable } from 'rxjs';
import { MeshClientProxy, MeshServer, type MeshClientOptions, type MeshOptions } from '../../lib/index.js';

/** Keeps what an application logs instead of printing it. */
export class LogBook implements LoggerService {
  readonly lines: string[] = [];
  readonly log = (...words: unknown[]): void => this.write('log', words);
  readonly warn = (...words: unknown[]): void => this.write('warn', words);
  readonly error = (...words: unknown[]): void => this.write('error', words);
  readonly debug = (...words: unknown[]): void => this.write('debug', words);

  /** The lines of a level that contain all of the words. */
  find(level: 'log' | 'warn' | 'error' | 'debug', ...words: string[]): string[] {
    return this.lines.filter(
      (line) => line.startsWith(`${level} `) && words.every((word) => line.includes(word)),
    );
  }

  private write(level: string, words: unknown[]): void {
    const text = words.map((word) =>
      word instanceof Error ? `${word.name}: ${word.message}` : String(word),
    );
    this.lines.push(`${level} ${text.join(' ')}`);
  }
}

/** A service under test, with a client bound to it. */
export interface Started {
  readonly app: INestMicroservice;
  readonly module: TestingModule;
  readonly server: MeshServer;
  readonly client: MeshClientProxy;
  readonly registry: string;
  readonly logs: LogBook;
}

/** How a service is started. */
export interface StartOptions {
  /** Everything else than the name of the service, which is `service`. */
  readonly options?: Partial<MeshOptions> & { readonly registry?: string };
  /** Global enhancers, hooks: before `listen()`. */
  readonly configure?: (app: INestMicroservice, server: MeshServer) => void;
}

/** Something that must be closed after the test. */
interface Closable {
  close(): Promise<unknown>;
}

/** Everything that one test opens; closed in the order in which it was opened, clients before services. */
export class Bench {
  private readonly open: Closable[] = [];

  /** Closes it after the test. */
  keep<T extends Closable>(thing: T): T {
    this.open.unshift(thing);
    return thing;
  }

  /** The logs of an application, under Nest's own way of building it for a test. */
  async compile(metadata: ModuleMetadata, logs = new LogBook()): Promise<TestingModule> {
    return Test.createTestingModule(metadata).setLogger(logs).compile();
  }

  /** A standalone microservice named `service` that listens, and a client bound to it. */
  async start(metadata: ModuleMetadata, { options = {}, configure }: StartOptions = {}): Promise<Started> {
    const { registry = `memory:${randomUUID()}` } = options;
    const logs = new LogBook();
    const module = await this.compile(metadata, logs);
    const server = new MeshServer({ service: 'service', ...options, registry });
    const app = this.keep(module.createNestMicroservice({ strategy: server }));
    configure?.(app, server);
    await app.listen();
    const { tls, redis } = options;
    const client = this.client({ registry, to: 'service', tls, redis });
    return { app, module, server, client, registry, logs };
  }

  /** A client named `caller`. */
  client(options: Omit<MeshClientOptions, 'service'>): MeshClientProxy {
    return this.keep(new MeshClientProxy({ service: 'caller', ...options }));
  }

  async close(): Promise<void> {
    for (const thing of this.open.splice(0)) await thing.close();
  }
}

/** A bench that is cleared after each test of the file. */
export function useBench(): Bench {
  const bench = new Bench();
  afterEach(() => bench.close());
  return bench;
}

/** Every value of an answer. */
export function valuesOf<T>(source: Observable<T>): Promise<T[]> {
  return lastValueFrom(source.pipe(toArray()));
}

/** Waits until `check` holds, and fails with `what` when it never does. */
export async function until(check: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!check()) {
    if (performance.now() > giveUpAt) throw new Error(`never happened: ${what}`);
    // What is waited for happens in another process or on another connection, and nobody tells.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A promise and the way to resolve it. */
export interface Gate<T> {
  readonly promise: Promise<T>;
  readonly open: (value: T) => void;
}

/** For a handler that waits until the test lets it go on, or a test that waits for its handler. */
export function gate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}
