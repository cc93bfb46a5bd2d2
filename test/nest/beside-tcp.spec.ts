/** The mesh beside another transport of Nest in one application: each handler is served where it belongs. */
import { describe, expect, it } from '@jest/globals';
import { Controller, type INestApplication } from '@nestjs/common';
import {
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  Transport,
  type ClientProxy,
} from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { firstValueFrom } from 'rxjs';
import { MESH_TRANSPORT, MeshServer } from '../../lib/index.js';
import { freePort } from '../support/redis-server.js';
import { until, useBench } from './nest-fixture.js';

const NO_HANDLER = 'There is no matching message handler defined in the remote service.';
const events: string[] = [];

@Controller()
class BothController {
  @MessagePattern('everywhere')
  everywhere(): string {
    return 'everywhere';
  }
  @MessagePattern('tcp', Transport.TCP)
  tcp(): string {
    return 'tcp';
  }
  @MessagePattern('mesh', MESH_TRANSPORT)
  mesh(): string {
    return 'mesh';
  }
  @MessagePattern('shared', Transport.TCP)
  sharedTcp(): string {
    return 'by tcp';
  }
  @MessagePattern('shared', MESH_TRANSPORT)
  sharedMesh(): string {
    return 'by mesh';
  }
  @EventPattern<unknown>('event', Transport.TCP)
  tcpEvent(): void {
    events.push('tcp');
  }
  @EventPattern<unknown>('event', MESH_TRANSPORT)
  meshEvent(): void {
    events.push('mesh');
  }
}

describe('a hybrid application with TCP and the mesh', () => {
  const bench = useBench();

  it('serves each handler on its own transport, and those without one on both', async () => {
    const registry = `memory:${randomUUID()}`;
    const port = await freePort();
    const module = await bench.compile({ controllers: [BothController] });
    const app: INestApplication = bench.keep(module.createNestApplication());
    app.connectMicroservice({ transport: Transport.TCP, options: { port, host: '127.0.0.1' } });
    app.connectMicroservice({ strategy: new MeshServer({ service: 'service', registry }) });
    await app.init();
    await app.startAllMicroservices();
    const mesh = bench.client({ registry, to: 'service' });
    const tcp = ClientProxyFactory.create({ transport: Transport.TCP, options: { port, host: '127.0.0.1' } });
    bench.keep({ close: async () => tcp.close() });
    const ask = (client: ClientProxy, pattern: string): Promise<unknown> =>
      firstValueFrom(client.send(pattern, {})).catch((error: unknown) => error);
    const patterns = ['everywhere', 'tcp', 'mesh', 'shared'];
    await expect(Promise.all(patterns.map((pattern) => ask(mesh, pattern)))).resolves.toEqual([
      'everywhere',
      NO_HANDLER,
      'mesh',
      'by mesh',
    ]);
    await expect(Promise.all(patterns.map((pattern) => ask(tcp, pattern)))).resolves.toEqual([
      'everywhere',
      'tcp',
      NO_HANDLER,
      'by tcp',
    ]);
    mesh.emit('event', {});
    await until(() => events.length === 1, 'the mesh handler runs');
    tcp.emit('event', {});
    await until(() => events.length === 2, 'the TCP handler runs');
    expect(events).toEqual(['mesh', 'tcp']);
  });
});
