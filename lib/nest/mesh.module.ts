/** `MeshModule`: one mesh node for the whole application, shared by its server and all its clients. */
import {
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type FactoryProvider,
  type InjectionToken,
  type ModuleMetadata,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OptionalFactoryDependency,
  type Provider,
  type Type,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { MeshNode } from '../node/mesh-node.js';
import type { Metadata } from '../protocol/packet.js';
import { drainFirst } from './drain-first.js';
import { handlerNames } from './handler-names.js';
import { MeshClientProxy } from './mesh.client-proxy.js';
import { meshLogger } from './mesh.logger.js';
import { MeshServer, type MeshServerOptions } from './mesh.server.js';
import { nodeOptionsOf, type ClientSerialization } from './serialization.js';
import { getMeshClientToken, MESH_OPTIONS } from './mesh.tokens.js';

/** A class that makes the options: for `useClass` and `useExisting`. */
export interface MeshOptionsFactory {
  createMeshOptions(): MeshServerOptions | Promise<MeshServerOptions>;
}

/** The options of `MeshModule.forRootAsync`: exactly one of `useFactory`, `useClass`, `useExisting`. */
export interface MeshModuleAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly useFactory?: (...deps: never[]) => MeshServerOptions | Promise<MeshServerOptions>;
  readonly inject?: (InjectionToken | OptionalFactoryDependency)[];
  readonly useClass?: Type<MeshOptionsFactory>;
  readonly useExisting?: InjectionToken<MeshOptionsFactory>;
  readonly extraProviders?: Provider[];
}

/** A client bound to a service. */
export interface MeshFeature extends ClientSerialization {
  readonly service: string;
  /** The name for `@InjectMeshClient`. @default the service */
  readonly name?: string | undefined;
  /** How long its calls may take, in ms; 0 = for ever. @default the node's `timeoutMs` */
  readonly timeoutMs?: number | undefined;
  /** Sent with each of its calls. */
  readonly metadata?: Metadata | undefined;
}

/** Tells the node where the application is in its life. Every step may come twice (nestjs: `init()` and then `listen()`). */
class MeshLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown {
  private bootstrapped: () => void = () => undefined;

  constructor(
    @Inject(MeshNode) private readonly node: MeshNode,
    @Inject(MeshServer) server: MeshServer,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {
    server.announceAfter(
      new Promise((resolve) => {
        this.bootstrapped = resolve;
      }),
    );
  }

  onApplicationBootstrap(): void {
    this.bootstrapped();
    drainFirst(this.node, this.modules);
    // An application that only calls never announces its node.
    this.node.keepConnected();
  }

  /** For what had no root module to be drained by, and for applications that close before they have begun. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.node.stopServing();
  }

  /** The last hook: until here users' own hooks could still make calls. */
  async onApplicationShutdown(): Promise<void> {
    await this.node.close();
  }
}

@Module({})
export class MeshModule {
  /** Once, in the root module. The node is global: `MeshServer` and the unbound `MeshClientProxy` can be injected anywhere. */
  static forRoot(options: MeshServerOptions): DynamicModule {
    return rootModule({ provide: MESH_OPTIONS, useValue: options }, []);
  }

  /** Like {@link forRoot}, with options that come from other providers. */
  static forRootAsync(options: MeshModuleAsyncOptions): DynamicModule {
    const { imports = [], extraProviders = [], useClass } = options;
    const providers = useClass === undefined ? extraProviders : [...extraProviders, useClass];
    return { ...rootModule(optionsProvider(options), providers), imports };
  }

  /** Clients bound to services, for `@InjectMeshClient(name)`. */
  static forFeature(features: readonly (string | MeshFeature)[]): DynamicModule {
    const providers = features.map((feature): FactoryProvider<MeshClientProxy> => {
      const {
        service,
        name = service,
        timeoutMs,
        metadata,
        serializer,
        deserializer,
      } = typeof feature === 'string' ? { service: feature } : feature;
      return {
        provide: getMeshClientToken(name),
        inject: [MeshClientProxy],
        useFactory: (client: MeshClientProxy) =>
          MeshClientProxy.serializing(client.to(service).with({ timeoutMs, metadata }), {
            serializer,
            deserializer,
          }),
      };
    });
    return { module: MeshModule, providers, exports: providers };
  }
}

function rootModule(options: Provider, extra: Provider[]): DynamicModule {
  const providers: Provider[] = [
    options,
    ...extra,
    {
      provide: MeshNode,
      inject: [MESH_OPTIONS],
      useFactory: (given: MeshServerOptions) =>
        new MeshNode({ logger: meshLogger(), ...nodeOptionsOf(given) }),
    },
    {
      provide: MeshServer,
      inject: [MeshNode, ModulesContainer, MESH_OPTIONS],
      useFactory: (node: MeshNode, modules: ModulesContainer, given: MeshServerOptions) =>
        new MeshServer(node, handlerNames(modules), given),
    },
    {
      provide: MeshClientProxy,
      inject: [MeshNode],
      useFactory: (node: MeshNode) => MeshClientProxy.over(node),
    },
    MeshLifecycle,
  ];
  return {
    module: MeshModule,
    global: true,
    providers,
    exports: [MeshNode, MeshServer, MeshClientProxy, MESH_OPTIONS],
  };
}

function optionsProvider({
  useFactory,
  inject = [],
  useClass,
  useExisting,
}: MeshModuleAsyncOptions): FactoryProvider<MeshServerOptions> {
  if (useFactory !== undefined)
    return { provide: MESH_OPTIONS, inject, useFactory: useFactory as FactoryProvider['useFactory'] };
  const factory = useExisting ?? useClass;
  if (factory === undefined) {
    throw new TypeError('MeshModule.forRootAsync needs one of useFactory, useClass or useExisting');
  }
  return {
    provide: MESH_OPTIONS,
    inject: [factory],
    useFactory: (from: MeshOptionsFactory) => from.createMeshOptions(),
  };
}
