/** A Nest service and a Nest client over real sockets: what handlers give is what callers get. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { firstValueFrom, from, lastValueFrom, of, throwError, toArray } from 'rxjs';
import { ChannelPattern, MeshChannel, MeshClientProxy, MeshContext, MeshServer } from '../../lib/index.js';

const seen: unknown[] = [];

@Controller()
class MathController {
  @MessagePattern({ cmd: 'sum' })
  sum(@Payload() data: number[]): number {
    return data.reduce((a, b) => a + b, 0);
  }
  @MessagePattern('async-sum')
  async asyncSum(@Payload() data: number[]): Promise<number> {
    return data.reduce((a, b) => a + b, 0);
  }
  @MessagePattern('observable')
  observable(data: number[]) {
    return from(data);
  }
  @MessagePattern('one')
  one(data: number) {
    return of(data);
  }
  @MessagePattern('generator')
  async *generator(n: number) {
    for (let i = 0; i < n; i += 1) yield i;
  }
  @MessagePattern('fail')
  fail() {
    throw new RpcException('boom');
  }
  @MessagePattern('fail-object')
  failObject() {
    return throwError(() => new RpcException({ code: 'X', status: 418 }));
  }
  @MessagePattern('bigint')
  bigint() {
    return { big: 1n };
  }
  @MessagePattern('who')
  who(@Ctx() ctx: MeshContext) {
    return { pattern: ctx.getPattern(), peer: ctx.peer.service, metadata: ctx.getMetadata() };
  }
  @EventPattern('note')
  note(data: unknown) {
    seen.push(data);
  }
  @ChannelPattern('echo')
  async echo(channel: MeshChannel) {
    for await (const value of channel) await channel.send({ echo: value });
  }
}

const apps: { close(): Promise<unknown> }[] = [];

async function start() {
  const registry = `memory:${randomUUID()}`;
  const module = await Test.createTestingModule({ controllers: [MathController] }).compile();
  const app: INestMicroservice = module.createNestMicroservice({
    strategy: new MeshServer({ service: 'math', registry }),
    logger: false,
  });
  await app.listen();
  const client = new MeshClientProxy({ service: 'caller', registry, to: 'math' });
  apps.push(client, app);
  return { app, client };
}

describe('a call over the mesh', () => {
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
  });

  it('gives the caller what the handler returned', async () => {
    const { client } = await start();
    await expect(firstValueFrom(client.send({ cmd: 'sum' }, [1, 2, 3]))).resolves.toBe(6);
    await expect(client.call('async-sum', [1, 2, 3, 4])).resolves.toBe(10);
    await expect(lastValueFrom(client.send('observable', [1, 2, 3]).pipe(toArray()))).resolves.toEqual([
      1, 2, 3,
    ]);
    await expect(lastValueFrom(client.send('one', 7).pipe(toArray()))).resolves.toEqual([7]);
    await expect(lastValueFrom(client.send('generator', 4).pipe(toArray()))).resolves.toEqual([0, 1, 2, 3]);
    await expect(client.call('fail', {})).rejects.toEqual({ status: 'error', message: 'boom' });
    await expect(client.call('fail-object', {})).rejects.toEqual({ code: 'X', status: 418 });
    await expect(client.call('bigint', {})).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
    await expect(client.call('nothing', {})).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
    await expect(client.with({ metadata: { tenant: 'a' } }).call('who', {})).resolves.toEqual({
      pattern: 'who',
      peer: 'caller',
      metadata: { tenant: 'a' },
    });
    await lastValueFrom(client.emit('note', { n: 1 }), { defaultValue: undefined });
    await client.call('one', 1);
    expect(seen).toEqual([{ n: 1 }]);
    const channel = await client.channel('echo');
    await channel.send(1);
    await channel.send('two');
    channel.end();
    const got: unknown[] = [];
    for await (const value of channel) got.push(value);
    expect(got).toEqual([{ echo: 1 }, { echo: 'two' }]);
    await expect(channel.whenClosed).resolves.toBeUndefined();
  });
});
