/** A user who tests: an application that names a Redis which is not there, in a test mesh with a service that is made up. */
import { Controller, Module } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { InjectMeshClient, MeshClientProxy, MeshError, MeshModule, MeshServer } from 'nestjs-mesh';
import { type MeshLink, type Received, TestMesh } from 'nestjs-mesh/testing';

@Controller()
class OrdersController {
  constructor(@InjectMeshClient('billing') private readonly billing: MeshClientProxy) {}

  @MessagePattern('orders.total')
  total(@Payload() id: string): Promise<number> {
    return this.billing.call<number>('invoice.total', id);
  }
}

@Module({
  imports: [
    MeshModule.forRoot({ service: 'orders', registry: 'redis://127.0.0.1:1' }),
    MeshModule.forFeature(['billing']),
  ],
  controllers: [OrdersController],
})
class AppModule {}

const mesh = new TestMesh();
const billing = await mesh.service('billing', { 'invoice.total': (id: string) => id.length });
const module = await mesh.override(Test.createTestingModule({ imports: [AppModule] })).compile();
const app = module.createNestMicroservice({ strategy: module.get(MeshServer) });
await app.listen();
const orders = mesh.client().to('orders');
const total = await orders.call<number>('orders.total', 'four');
if (total !== 4) throw new Error(`unexpected answer: ${total}`);
const received: Received[] = billing.receivedOf('invoice.total');
if (received.length !== 1) throw new Error(`received ${received.length} calls`);
const link: MeshLink = mesh.between('test', 'orders').refuse();
await link.cut();
const failure: unknown = await orders
  .with({ timeoutMs: 200 })
  .call('orders.total', 'x')
  .catch((error: unknown) => error);
if (!MeshError.is(failure)) throw new Error(`not a MeshError: ${String(failure)}`);
await app.close();
await mesh.close();
console.log('nestjs-mesh/testing: tested an application without Redis and ports');
