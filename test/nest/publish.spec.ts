/** publish() of the client: which client has it, and what handlers see of it. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { MeshContext, MeshRecordBuilder } from '../../lib/index.js';
import { until, useBench } from './nest-fixture.js';

let seen: unknown[] = [];

@Controller()
class EventController {
  @EventPattern<unknown>(['user.*', { topic: 'users' }])
  user(@Payload() data: unknown, @Ctx() context: MeshContext): void {
    seen.push([context.getPattern(), data, context.getMetadata(), context.peer.service]);
  }
  @MessagePattern('ask.back')
  async back(@Payload() _data: unknown, @Ctx() context: MeshContext): Promise<unknown> {
    return context.client.publish('user.created', 1);
  }
}

describe('publish()', () => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
  });

  it('gives handlers the data, the metadata and the publisher, for text and object patterns', async () => {
    const { registry } = await bench.start({ controllers: [EventController] });
    const client = bench.client({ registry }).with({ ack: 'handled', metadata: { tenant: 'a' } });
    const record = new MeshRecordBuilder({ id: 1 }).setMetadata({ trace: 'b' }).build();
    for (const pattern of ['user.created', { topic: 'users' }]) {
      expect(await client.publish(pattern, record)).toMatchObject([{ service: 'service' }]);
    }
    const metadata = { tenant: 'a', trace: 'b' };
    expect(seen).toEqual([
      ['user.created', { id: 1 }, metadata, 'caller'],
      ['{"topic":"users"}', { id: 1 }, metadata, 'caller'],
    ]);
  });

  it('without an acknowledgement resolves when the event was handed over', async () => {
    const { registry, server } = await bench.start({ controllers: [EventController] });
    const client = bench.client({ registry });
    expect(await client.publish('user.created', 1)).toEqual([{ service: 'service', nodeId: server.nodeId }]);
    await until(() => seen.length === 1, 'it has come');
  });

  it('is of the client that is bound to no service: others say which one to use', async () => {
    const { client } = await bench.start({ controllers: [EventController] });
    const error = { code: 'FAILED_PRECONDITION', delivery: 'not-sent' };
    await expect(client.publish('user.created', 1)).rejects.toMatchObject(error);
    await expect(client.publish('user.created', 1)).rejects.toThrow('mesh.publish');
    await expect(client.call('ask.back', {})).rejects.toMatchObject({ message: 'Internal server error' });
    expect(seen).toEqual([]);
  });

  it.each([
    [null, {}],
    [undefined, {}],
    ['user.created', null],
    ['user.created', undefined],
  ])('needs a pattern and data: %j, %j', async (pattern, data) => {
    const client = bench.client({ registry: 'memory:none' });
    await expect(client.publish(pattern, data)).rejects.toThrow('invalid data or message pattern');
  });

  it('runs the dispatch hook of the client', async () => {
    const { registry } = await bench.start({ controllers: [EventController] });
    const client = bench.client({ registry });
    const dispatched: unknown[] = [];
    client.setOnDispatchHook((packet) => void dispatched.push(packet));
    await client.publish('user.created', 1);
    expect(dispatched).toEqual([{ pattern: 'user.created', data: 1 }]);
  });
});
