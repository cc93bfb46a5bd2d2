/** Applications in a test mesh: as they are, several in one process, with no Redis and no port. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Inject, Logger, Module, type INestApplicationContext } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test, type TestingModule } from '@nestjs/testing';
import { InjectMeshClient } from '../../lib/nest/mesh.tokens.js';
import { MeshClientProxy } from '../../lib/nest/mesh.client-proxy.js';
import { MeshContext } from '../../lib/nest/mesh.context.js';
import { MeshModule } from '../../lib/nest/mesh.module.js';
import { MeshServer } from '../../lib/nest/mesh.server.js';
import { MeshNode } from '../../lib/node/mesh-node.js';
import { MeshTestingModule } from '../../lib/testing/mesh-testing.module.js';
import { TestMesh } from '../../lib/testing/test-mesh.js';
import { failureOf } from '../support/mesh-fixture.js';

/** Nothing listens there: a test that asked for it would fail. */
const REGISTRY = 'redis://127.0.0.1:1';

@Controller()
class OrdersController {
  constructor(@InjectMeshClient('billing') private readonly billing: MeshClientProxy) {}

  @MessagePattern('orders.pay')
  async pay(@Payload() id: string): Promise<unknown> {
    this.billing.emit('order.paid', id);
    return { id, invoice: await this.billing.call('invoice.get', id) };
  }
}

@Module({
  imports: [
    MeshModule.forRoot({ service: 'orders', registry: REGISTRY, metadata: { zone: 'a' } }),
    MeshModule.forFeature(['billing']),
  ],
  controllers: [OrdersController],
})
class OrdersModule {}

@Controller()
class BillingController {
  readonly events: string[] = [];

  @MessagePattern('invoice.get')
  get(@Payload() id: string, @Ctx() context: MeshContext): unknown {
    return { id, for: context.peer.service };
  }

  @EventPattern('order.paid')
  paid(@Payload() id: string): void {
    this.events.push(id);
  }
}

@Module({
  imports: [
    MeshModule.forRootAsync({
      useFactory: () => Promise.resolve({ service: 'billing', registry: REGISTRY }),
    }),
  ],
  controllers: [BillingController],
})
class BillingModule {}

let mesh: TestMesh;
let apps: INestApplicationContext[];
beforeEach(() => {
  mesh = new TestMesh();
  apps = [];
});
afterEach(async () => {
  for (const app of apps) await app.close();
  await mesh.close();
  Logger.overrideLogger(true);
});

/** Starts what was compiled as a microservice of the mesh. */
async function serve(module: TestingModule): Promise<INestApplicationContext> {
  // Nest's builder has put its own logger in place, which prints the errors that these tests make.
  Logger.overrideLogger(false);
  const app = module.createNestMicroservice({ strategy: module.get(MeshServer) });
  apps.push(app);
  await app.listen();
  return app;
}

function testing(module: object): ReturnType<typeof Test.createTestingModule> {
  return Test.createTestingModule({ imports: [module as never] });
}

describe('An application that imports MeshModule for Redis', () => {
  it('joins a test mesh unchanged, and meets fake services there', async () => {
    const billing = await mesh.service(
      'billing',
      { 'invoice.get': (id: string) => `invoice ${id}` },
      {
        events: { 'order.paid': () => undefined },
      },
    );
    await serve(await mesh.override(testing(OrdersModule)).compile());
    const paid = await mesh.client().to('orders').call('orders.pay', '7');
    expect(paid).toEqual({ id: '7', invoice: 'invoice 7' });
    const [event] = await billing.waitFor('order.paid');
    expect(event).toMatchObject({ kind: 'event', data: '7', from: 'orders' });
  });

  it('keeps its own options, but where the test has others', async () => {
    const module = await mesh.override(testing(OrdersModule), { timeoutMs: 77 }).compile();
    await serve(module);
    const { options, record } = module.get(MeshNode);
    expect(options).toMatchObject({ service: 'orders', timeoutMs: 77, metadata: { zone: 'a' } });
    expect(record).toMatchObject({ host: 'orders-1.test', metadata: { zone: 'a' } });
    expect(mesh.nameOf(module.get(MeshNode))).toBe('orders-1');
  });

  it('shares the mesh with other applications of the process', async () => {
    await serve(await mesh.override(testing(OrdersModule)).compile());
    const billing = await serve(await mesh.override(testing(BillingModule)).compile());
    const paid = await mesh.client().to('orders').call('orders.pay', '7');
    expect(paid).toEqual({ id: '7', invoice: { id: '7', for: 'orders' } });
    expect(billing.get(BillingController).events).toEqual(['7']);
  });

  it('sees what is wrong with the network between them as it would in production', async () => {
    mesh = new TestMesh({ keepAlive: { intervalMs: 50, timeoutMs: 200 } });
    await serve(await mesh.override(testing(OrdersModule)).compile());
    await serve(await mesh.override(testing(BillingModule)).compile());
    const orders = mesh.client().to('orders');
    await orders.call('orders.pay', '7');
    mesh.partition('orders', 'billing');
    await expect(orders.call('orders.pay', '8')).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
    await mesh.heal();
    expect(await orders.call('orders.pay', '9')).toMatchObject({ id: '9' });
  });

  it('drains and leaves in order when it is closed', async () => {
    const app = await serve(await mesh.override(testing(BillingModule)).compile());
    const client = mesh.client().to('billing').with({ timeoutMs: 100 });
    await client.call('invoice.get', '1');
    await app.close();
    const error = await failureOf(client.call('invoice.get', '2'));
    expect(error.rawMessage).toContain("no node of service 'billing' is listed");
  });
});

describe('MeshTestingModule.forRoot', () => {
  @Controller()
  class Greeter {
    constructor(@Inject(MeshClientProxy) readonly client: MeshClientProxy) {}

    @MessagePattern('greet')
    greet(name: string): string {
      return `hello ${name}`;
    }
  }

  it('stands where MeshModule.forRoot stands, in the mesh it is given', async () => {
    const root = MeshTestingModule.forRoot({ mesh, service: 'greeter' });
    await serve(await Test.createTestingModule({ imports: [root], controllers: [Greeter] }).compile());
    expect(await mesh.client().to('greeter').call('greet', 'you')).toBe('hello you');
  });

  it('makes a mesh of its own without one, and closes it with the application', async () => {
    const root = MeshTestingModule.forRoot({ service: 'greeter' });
    const module = await Test.createTestingModule({ imports: [root], controllers: [Greeter] }).compile();
    const app = await serve(module);
    const own = module.get(TestMesh);
    expect(await own.client().to('greeter').call('greet', 'you')).toBe('hello you');
    await app.close();
    expect(() => own.client()).toThrow('the test mesh was closed');
  });

  it('has clients bound to services', async () => {
    await mesh.service('billing', { 'invoice.get': () => 12 });
    const module = await Test.createTestingModule({
      imports: [
        MeshTestingModule.forRoot({ mesh, service: 'orders' }),
        MeshTestingModule.forFeature(['billing']),
      ],
      controllers: [OrdersController],
    }).compile();
    await serve(module);
    expect(await module.get(OrdersController).pay('1')).toEqual({ id: '1', invoice: 12 });
  });
});

describe('A test mesh', () => {
  it('opens no port', async () => {
    const kinds = (): string[] => process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe/.test(kind));
    const before = kinds();
    await mesh.service('math', { double: (n: number) => n * 2 });
    expect(await mesh.client().to('math').call('double', 2)).toBe(4);
    expect(kinds()).toEqual(before);
  });

  it('is apart from every other', async () => {
    const other = new TestMesh();
    await other.service('math', { double: () => 0 });
    const error = await failureOf(mesh.client().to('math').with({ timeoutMs: 50 }).call('double', 2));
    expect(error.rawMessage).toContain("no node of service 'math' is listed");
    await other.close();
  });

  it('takes a MeshServer that is made by hand', async () => {
    const node = mesh.node({ service: 'hand' });
    const server = new MeshServer(node);
    server.addHandler('ping', () => Promise.resolve('pong'));
    await new Promise<void>((resolve) => {
      server.listen(() => resolve());
    });
    expect(await mesh.client().to('hand').call('ping', 1)).toBe('pong');
  });

  it('refuses TLS, and says how to go without', async () => {
    const tls = { cert: 'c', key: 'k' };
    expect(() => mesh.node({ service: 'math', tls })).toThrow(
      "the node of 'math' has the option tls, but nothing leaves the process: override it by { tls: undefined }",
    );
    expect(mesh.node({ service: 'math', tls }, { tls: undefined }).options.tls).toBeUndefined();
  });

  it('names nodes so that their hosts are valid whatever their service is called', async () => {
    const fake = await mesh.service('@shop/orders+v2', { ping: () => 'pong' });
    expect(fake.name).toBe('@shop/orders+v2-1');
    expect(fake.node.record).toMatchObject({ host: 'shop-orders-v2-1.test', port: 1 });
    expect(await mesh.client().to('@shop/orders+v2').call('ping', 1)).toBe('pong');
  });

  it('says which options are wrong, as MeshModule does', () => {
    expect(() => mesh.node({ service: 'a b' })).toThrow('the mesh options are not valid');
  });

  it('takes nobody in once it is closed', async () => {
    await mesh.close();
    await expect(mesh.service('math')).rejects.toThrow('the test mesh was closed: make a new TestMesh');
    await mesh.close();
  });
});
