/** Where a row plays: services and clients of one transport, and nothing left behind. */
import type { INestApplication, INestMicroservice, ModuleMetadata, Type } from '@nestjs/common';
import { ServerTCP, type ClientProxy } from '@nestjs/microservices';
import { Test, type TestingModule } from '@nestjs/testing';
import type { MeshServer, ServerSerialization } from '../../lib/index.js';
import { LogBook } from '../nest/nest-fixture.js';
import type { Kind } from './row.js';

export type AnyServer = ServerTCP | MeshServer;

/** What rows may ask of a server. */
export interface ServerSettings {
  /** Where an earlier server was found: the same port, or the same service in the same registry. */
  readonly like?: AnyServer;
  /** Larger messages are refused. */
  readonly maxMessageBytes?: number;
  /** How long calls under way may go on when it closes, in ms; without meaning where they are cut off. */
  readonly drainTimeoutMs?: number;
  /** How long a message that has begun may stand still, in ms. */
  readonly incompleteMessageTimeoutMs?: number;
  /** Its serializer and deserializer. */
  readonly codecs?: ServerSerialization;
  /** A port to listen on. @default a free one */
  readonly port?: number;
}

/** What rows may ask of a client. */
export interface CallerSettings {
  /** How long calls may take, in ms; without meaning where they wait for ever. */
  readonly timeoutMs?: number;
}

/** A client as `ClientsModule` wants it. */
export interface ClientRecipe {
  readonly customClass: Type<ClientProxy>;
  readonly options: Record<string, unknown>;
}

export type MakeServer = (settings: ServerSettings) => AnyServer;
export type MakeClient = (server: AnyServer, settings: CallerSettings) => ClientRecipe;

/** How a service is started. */
export interface ServeOptions {
  readonly settings?: ServerSettings;
  /** Global enhancers and hooks: before `listen()`. */
  readonly configure?: (app: INestMicroservice, server: AnyServer, module: TestingModule) => void;
}

/** A service that listens, and a client for it. */
export interface Service {
  readonly app: INestMicroservice;
  readonly module: TestingModule;
  readonly server: AnyServer;
  readonly client: ClientProxy;
  readonly logs: LogBook;
}

interface Closable {
  close(): unknown;
}

/** Everything that one row opens. */
export class Stage {
  private readonly open: Closable[] = [];

  constructor(
    readonly kind: Kind,
    private readonly makeServer: MakeServer,
    private readonly makeClient: MakeClient,
  ) {}

  /** Closes it after the row; what was opened last goes first. */
  keep<T extends Closable>(thing: T): T {
    this.open.unshift(thing);
    return thing;
  }

  /** A server that does not listen yet. */
  server(settings: ServerSettings = {}): AnyServer {
    return this.makeServer(settings);
  }

  /** How to make a client for a server; for TCP only once it listens. */
  recipe(server: AnyServer, settings: CallerSettings = {}): ClientRecipe {
    return this.makeClient(server, settings);
  }

  /** A client for a server that listens, or has listened. */
  client(server: AnyServer, settings: CallerSettings = {}): ClientProxy {
    const { customClass, options } = this.recipe(server, settings);
    return this.keep(new customClass(options));
  }

  /** A module whose application logs into `logs`. */
  compile(metadata: ModuleMetadata, logs = new LogBook()): Promise<TestingModule> {
    return Test.createTestingModule(metadata).setLogger(logs).compile();
  }

  /** A microservice that listens, and a client for it. */
  async serve(metadata: ModuleMetadata | Type, options: ServeOptions = {}): Promise<Service> {
    const logs = new LogBook();
    const module = await this.compile(metadataOf(metadata), logs);
    const server = this.server(options.settings);
    const app = this.keep(module.createNestMicroservice({ strategy: server }));
    options.configure?.(app, server, module);
    await app.listen();
    return { app, module, server, client: this.client(server), logs };
  }

  /** An HTTP application that is to be connected to a server; nothing listens yet. */
  async hybrid(
    metadata: ModuleMetadata | Type,
  ): Promise<{ readonly app: INestApplication; readonly server: AnyServer; readonly logs: LogBook }> {
    const logs = new LogBook();
    const module = await this.compile(metadataOf(metadata), logs);
    const app = this.keep(module.createNestApplication());
    return { app, server: this.server(), logs };
  }

  async close(): Promise<void> {
    for (const thing of this.open.splice(0)) await thing.close();
  }
}

/** A controller alone is a whole service. */
function metadataOf(metadata: ModuleMetadata | Type): ModuleMetadata {
  return typeof metadata === 'function' ? { controllers: [metadata] } : metadata;
}
