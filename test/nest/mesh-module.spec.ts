/** `MeshModule`, `ClientsModule` and the ways in which an application becomes part of a mesh. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Inject,
  Injectable,
  Module,
  type ModuleMetadata,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { ClientsModule, MessagePattern, type ClientProxy } from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { firstValueFrom } from 'rxjs';
import {
  getMeshClientToken,
  InjectMeshClient,
  MESH_OPTIONS,
  MeshClientProxy,
  MeshModule,
  MeshNode,
  MeshServer,
  type MeshOptions,
  type MeshOptionsFactory,
} from '../../lib/index.js';
import { until, useBench } from './nest-fixture.js';

@Controller()
class EchoController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
}

@Injectable()
class Caller {
  constructor(
    readonly mesh: MeshClientProxy,
    @InjectMeshClient('orders') readonly orders: MeshClientProxy,
    @InjectMeshClient('slow-orders') readonly slow: MeshClientProxy,
  ) {}
}

const FEATURES = [
  'orders',
  { name: 'slow-orders', service: 'orders', timeoutMs: 77, metadata: { from: 'feature' } },
];

@Injectable()
class Settings implements MeshOptionsFactory {
  createMeshOptions(): MeshOptions {
    return { service: 'settings', registry: `memory:${registryName}` };
  }
}
@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

let registryName = '';
const steps: string[] = [];

describe('MeshModule', () => {
  const bench = useBench();
  beforeEach(() => {
    registryName = randomUUID();
    steps.length = 0;
  });
  const registry = (): string => `memory:${registryName}`;

  /** A hybrid application over the server of its MeshModule. */
  const hybrid = async (metadata: ModuleMetadata) => {
    const module = await bench.compile(metadata);
    const app = bench.keep(module.createNestApplication());
    app.connectMicroservice({ strategy: app.get(MeshServer) }, { inheritAppConfig: true });
    return app;
  };
  const service = (name: string, more: ModuleMetadata = {}) =>
    hybrid({
      controllers: [EchoController],
      ...more,
      imports: [MeshModule.forRoot({ service: name, registry: registry() }), ...(more.imports ?? [])],
    });
  const found = async (name: string): Promise<number> => {
    const node = bench.client({ registry: registry() }).unwrap();
    return (await node.discover(name)).length;
  };

  it('gives one node to the server, the unbound client and the clients of features', async () => {
    const orders = await service('orders');
    await orders.init();
    await orders.startAllMicroservices();
    const app = await service('gateway', { imports: [MeshModule.forFeature(FEATURES)], providers: [Caller] });
    await app.init();
    const { mesh, orders: bound, slow } = app.get(Caller);
    await expect(bound.call('echo', 1)).resolves.toBe(1);
    await expect(slow.call('echo', 2)).resolves.toBe(2);
    await expect(mesh.to('orders').call('echo', 3)).resolves.toBe(3);
    const node = app.get(MeshNode);
    for (const client of [mesh, bound, slow, app.get<MeshClientProxy>(getMeshClientToken('orders'))]) {
      expect(client.unwrap()).toBe(node);
    }
    expect(app.get(MeshServer).nodeId).toBe(node.id);
    expect(app.get<MeshOptions>(MESH_OPTIONS)).toMatchObject({ service: 'gateway' });
  });

  it('gives clients of features their own time limit', async () => {
    const app = await service('gateway', { imports: [MeshModule.forFeature(FEATURES)], providers: [Caller] });
    await app.init();
    await expect(app.get(Caller).slow.call('echo', 1)).rejects.toMatchObject({
      message: expect.stringContaining('within 77 ms'),
    });
  });

  it('announces nothing for an application that only has clients', async () => {
    const app = await service('gateway');
    await app.init();
    await delay(50); // Long enough for an announcement that should not come.
    expect(app.get(MeshNode).status).toMatchObject({ listening: false, announced: false });
    await expect(found('gateway')).resolves.toBe(0);
  });

  it.each<[string, () => Parameters<typeof MeshModule.forRootAsync>[0]]>([
    [
      'useFactory',
      () => ({
        imports: [SettingsModule],
        inject: [Settings],
        useFactory: async (settings: Settings) => settings.createMeshOptions(),
      }),
    ],
    ['useClass', () => ({ useClass: Settings })],
    ['useExisting', () => ({ imports: [SettingsModule], useExisting: Settings })],
  ])('takes its options from other providers by forRootAsync: %s', async (_name, options) => {
    const app = await hybrid({
      controllers: [EchoController],
      imports: [MeshModule.forRootAsync(options())],
    });
    await app.init();
    await app.startAllMicroservices();
    const client = bench.client({ registry: registry(), to: 'settings' });
    await expect(client.call('echo', 'hi')).resolves.toBe('hi');
  });

  it('says what forRootAsync needs, and which options are wrong', async () => {
    expect(() => MeshModule.forRootAsync({})).toThrow('useFactory, useClass or useExisting');
    const options = { service: 'or*ders', port: -1 };
    await expect(bench.compile({ imports: [MeshModule.forRoot(options)] })).rejects.toThrow(
      /or\*ders[^]*port/,
    );
    await expect(
      bench.compile({ imports: [MeshModule.forRootAsync({ useFactory: () => options })] }),
    ).rejects.toThrow(/or\*ders/);
  });

  it('serves a standalone microservice, whose strategy comes from the container', async () => {
    const module = await bench.compile({
      controllers: [EchoController],
      imports: [MeshModule.forRoot({ service: 'alone', registry: registry() })],
    });
    const app = bench.keep(
      module.createNestMicroservice({
        inject: [MeshServer],
        useFactory: (strategy: MeshServer) => ({ strategy }),
      } as never),
    );
    await app.listen();
    expect(app.get(MeshNode).status).toMatchObject({ listening: true, announced: true });
    await expect(bench.client({ registry: registry(), to: 'alone' }).call('echo', 1)).resolves.toBe(1);
  });

  it('is announced only after every onModuleInit, whatever starts first', async () => {
    @Injectable()
    class SlowStart implements OnModuleInit {
      async onModuleInit(): Promise<void> {
        steps.push(`init: ${await found('late')}`);
        await delay(50); // Time for an announcement that should not come.
        steps.push(`init: ${await found('late')}`);
      }
    }
    const app = await service('late', { providers: [SlowStart] });
    await app.startAllMicroservices();
    expect(app.get(MeshNode).status).toMatchObject({ listening: true, announced: false });
    await app.init();
    expect(steps).toEqual(['init: 0', 'init: 0']);
    await until(() => app.get(MeshNode).status.announced, 'it is announced');
    await expect(found('late')).resolves.toBe(1);
  });

  it('is announced when startAllMicroservices() resolves in an application that is ready, on a slow registry too', async () => {
    const app = await service('ready');
    const node = app.get(MeshNode);
    const announce = node.registry.announce.bind(node.registry);
    // As slow as a real Redis, of which memory is no image.
    node.registry.announce = async (record) => (await delay(50), announce(record));
    await app.init();
    await app.startAllMicroservices();
    expect(node.status.announced).toBe(true);
  });

  it('fails startAllMicroservices() of an application that is ready when the announcement fails', async () => {
    const app = await service('ready');
    const { registry: nodeRegistry } = app.get(MeshNode);
    nodeRegistry.announce = () => delay(20).then(() => Promise.reject(new Error('the registry refuses')));
    await app.init();
    await expect(app.startAllMicroservices()).rejects.toThrow('the registry refuses');
  });

  it('is not disturbed by lifecycle hooks that come twice', async () => {
    const module = await bench.compile({
      controllers: [EchoController],
      imports: [MeshModule.forRoot({ service: 'twice', registry: registry() })],
    });
    const app = bench.keep(module.createNestMicroservice({ strategy: module.get(MeshServer) }));
    await app.init();
    await app.listen();
    await expect(found('twice')).resolves.toBe(1);
    await expect(bench.client({ registry: registry(), to: 'twice' }).call('echo', 1)).resolves.toBe(1);
  });

  it('lets several applications of one process call each other', async () => {
    const names = ['a', 'b', 'c'];
    const apps = await Promise.all(names.map((name) => service(name)));
    for (const app of apps) {
      await app.init();
      await app.startAllMicroservices();
    }
    for (const app of apps) {
      for (const name of names) {
        await expect(app.get(MeshClientProxy).to(name).call('echo', name)).resolves.toBe(name);
      }
    }
  });

  it('shares its calls among all nodes of a service', async () => {
    const ids = new Set<string>();
    for (let at = 0; at < 3; at += 1) {
      @Controller()
      class Who {
        constructor(@Inject(MeshNode) private readonly node: MeshNode) {}
        @MessagePattern('who')
        who(): string {
          return this.node.id;
        }
      }
      const app = await service('many', { controllers: [Who] });
      await app.init();
      await app.startAllMicroservices();
    }
    const client = bench.client({ registry: registry(), to: 'many' });
    for (let at = 0; at < 30; at += 1) ids.add(await client.call('who', {}));
    expect(ids.size).toBe(3);
    for (const nodeId of ids) {
      await expect(client.to({ service: 'many', nodeId }).call('who', {})).resolves.toBe(nodeId);
    }
    const byKey = client.to({ service: 'many', key: 'customer 7' });
    const kept = new Set(await Promise.all(Array.from({ length: 10 }, () => byKey.call('who', {}))));
    expect(kept.size).toBe(1);
  });

  it('can be overridden in tests of applications', async () => {
    const fake = { send: () => 'fake' };
    const { Test } = await import('@nestjs/testing');
    const module = await Test.createTestingModule({
      imports: [
        MeshModule.forRoot({ service: 'x', registry: registry() }),
        MeshModule.forFeature(['orders']),
      ],
    })
      .overrideProvider(getMeshClientToken('orders'))
      .useValue(fake)
      .compile();
    bench.keep(module);
    expect(module.get(getMeshClientToken('orders'))).toBe(fake);
  });
});

describe('ClientsModule with MeshClientProxy as customClass', () => {
  const bench = useBench();

  @Injectable()
  class Orders implements OnModuleDestroy {
    lastWord: unknown;
    constructor(@Inject('ORDERS') readonly client: ClientProxy) {}
    async onModuleDestroy(): Promise<void> {
      this.lastWord = await firstValueFrom(this.client.send('echo', 'last word'));
    }
  }

  it.each(['register', 'registerAsync'] as const)(
    'calls, also while the application closes, and is closed: %s',
    async (how) => {
      const { registry } = await bench.start({ controllers: [EchoController] });
      const client = {
        customClass: MeshClientProxy,
        options: { service: 'caller', registry, to: 'service' },
      };
      const imports = {
        register: () => ClientsModule.register([{ name: 'ORDERS', ...client }]),
        registerAsync: () => ClientsModule.registerAsync([{ name: 'ORDERS', useFactory: () => client }]),
      };
      const module = await bench.compile({ imports: [imports[how]()], providers: [Orders] });
      await module.init();
      const orders = module.get(Orders);
      await expect(firstValueFrom(orders.client.send<string, string>('echo', 'hi'))).resolves.toBe('hi');
      const node = (orders.client as MeshClientProxy).unwrap();
      await module.close();
      expect(orders.lastWord).toBe('last word');
      await expect(node.discover('service')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    },
  );
});
