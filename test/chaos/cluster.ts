/** Real processes that make up a mesh: a Redis server, Nest nodes, Python nodes and clients. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RedisServer } from '../support/redis-server.js';
import { Ledger } from './ledger.js';
import { Program } from './program.js';
import type { ClientSettings, JsonOptions, Kind, NodeSettings } from './settings.js';

/** The service that is under load. */
export const SERVICE = 'work';
/** Noticing and recovering are quick, so that the short rows show all of it. */
export const MESH = {
  heartbeatIntervalMs: 500,
  ttlMs: 2_000,
  registryTimeoutMs: 1_000,
  connectTimeoutMs: 1_000,
  keepAlive: { intervalMs: 1_000, timeoutMs: 1_500 },
  reconnect: { baseMs: 50, maxMs: 500 },
} as const;

const WORK_MS = 5;
const TIMEOUT_MS = 10_000;

/** Where things are. */
export interface Places {
  /** The top folder of the repository. */
  readonly root: string;
  /** Where the programs were compiled to. */
  readonly compiled: string;
}

export interface NodeExtras extends Partial<Pick<NodeSettings, 'host' | 'workMs' | 'maxConcurrency'>> {
  /** Words that come before the command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  readonly registry?: string;
  /** Further options of the mesh node. */
  readonly mesh?: Readonly<Record<string, unknown>>;
}

export class Cluster {
  readonly ledger: Ledger;
  readonly clients: Program[] = [];
  private readonly programs = new Set<Program>();
  private started = 0;

  private constructor(
    private readonly places: Places,
    readonly redis: RedisServer,
    private readonly folder: string,
  ) {
    this.ledger = new Ledger(folder);
  }

  static async start(places: Places, redisArgs: readonly string[] = []): Promise<Cluster> {
    const redis = await RedisServer.start({ args: redisArgs });
    return new Cluster(places, redis, mkdtempSync(join(tmpdir(), 'mesh-chaos-')));
  }

  /** A Nest node that is ready. */
  async nest(extras: NodeExtras = {}): Promise<Program> {
    const program = this.beginNest(extras);
    await program.says('ready');
    return program;
  }

  /** A Nest node that may take its time to be ready. */
  beginNest({ prefix = [], registry = this.redis.url, mesh, ...extras }: NodeExtras = {}): Program {
    const name = `nest-${(this.started += 1)}`;
    const settings: NodeSettings = {
      name,
      ledger: this.ledger.serverFile(name),
      workMs: WORK_MS,
      options: { ...this.options(), registry, ...mesh },
      ...extras,
    };
    return this.run(name, [...prefix, ...this.node('node.js', settings)]);
  }

  /** A Python node that is ready. */
  async python(): Promise<Program> {
    const name = `python-${(this.started += 1)}`;
    const peer = join(this.places.root, 'sample-app', 'python-peer');
    const args = ['--registry', this.redis.url, '--service', SERVICE, '--name', name];
    const command = [join(peer, '.venv', 'bin', 'python'), join('tests', 'chaos_peer.py'), ...args];
    const work = ['--ledger', this.ledger.serverFile(name), '--work-ms', String(WORK_MS)];
    const program = this.run(name, [...command, ...work], peer);
    await program.says('ready');
    return program;
  }

  /** A client that sends. */
  async client(
    rates: Readonly<Partial<Record<Kind, number>>>,
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Program> {
    const name = `client-${(this.started += 1)}`;
    const settings: ClientSettings = {
      name,
      to: SERVICE,
      ledger: this.ledger.clientFile(name),
      rates,
      timeoutMs: TIMEOUT_MS,
      options: { ...this.options(), service: 'client', ...more },
    };
    const program = this.run(name, this.node('client.js', settings));
    await program.says('ready');
    this.clients.push(program);
    return program;
  }

  /** What all programs have said lately. */
  get log(): string {
    return [...this.programs].map(({ log }) => log).join('\n');
  }

  /** Ends the load; when this resolves every call has its outcome in the ledger. */
  async stopLoad(clients: readonly Program[] = this.clients): Promise<void> {
    for (const client of clients) client.signal('SIGTERM');
    await Promise.all(clients.map((client) => client.says('done')));
  }

  /** Ends everything, and removes what it has written. */
  async close(): Promise<void> {
    await Promise.all([...this.programs].map((program) => program.kill()));
    await this.redis.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private options(): JsonOptions {
    return { ...MESH, service: SERVICE, registry: this.redis.url };
  }

  private node(script: string, settings: NodeSettings | ClientSettings): string[] {
    const file = join(this.places.compiled, 'test', 'chaos', 'programs', script);
    return [process.execPath, '--expose-gc', file, JSON.stringify(settings)];
  }

  private run(name: string, command: readonly string[], cwd?: string): Program {
    const program = Program.start(name, command, cwd);
    this.programs.add(program);
    return program;
  }
}
