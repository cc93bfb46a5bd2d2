/** What a handler throws in one language is what a caller or a gateway in the other one can use. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Body,
  Controller,
  Module,
  NotFoundException,
  Post,
  UseFilters,
  type INestApplication,
  type INestMicroservice,
} from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import { MessagePattern, RpcException } from '@nestjs/microservices';
import {
  InjectMeshClient,
  MeshClientProxy,
  MeshError,
  MeshExceptionFilter,
  MeshHttpExceptionFilter,
  MeshModule,
  MeshServer,
} from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';
import { until } from './interop.js';

const MASKED = { status: 'error', message: 'Internal server error' };

function fail(how: string): never {
  if (how === 'http') throw new NotFoundException('no order 7');
  if (how === 'text') throw new RpcException('sold out');
  if (how === 'object') throw new RpcException({ reason: 'sold out' });
  if (how === 'mesh') throw new MeshError('ABORTED', 'a secret');
  throw new Error('a secret');
}

@Controller()
class PlainController {
  @MessagePattern('plain')
  plain(how: string): never {
    return fail(how);
  }

  @MessagePattern('plain stream')
  async *plainStream(how: string): AsyncGenerator<number> {
    yield 1;
    fail(how);
  }
}

@Controller()
@UseFilters(MeshExceptionFilter)
class FilteredController {
  @MessagePattern('filtered')
  filtered(how: string): never {
    return fail(how);
  }
}

@Module({ controllers: [PlainController, FilteredController] })
class ServiceModule {}

@Controller()
class GatewayController {
  constructor(@InjectMeshClient('python-peer') private readonly python: MeshClientProxy) {}

  @Post('fail')
  fail(@Body() body: unknown): Promise<unknown> {
    return this.python.call('fail', body);
  }
}

describe('errors between Nest and Python', () => {
  let redis: RedisServer;
  let python: PythonPeer;
  let service: INestMicroservice;
  let gateway: INestApplication;
  let client: MeshClientProxy;

  beforeAll(async () => {
    redis = await RedisServer.start();
    const registry = redis.url;
    @Module({
      imports: [MeshModule.forRoot({ service: 'gateway', registry }), MeshModule.forFeature(['python-peer'])],
      controllers: [GatewayController],
      providers: [{ provide: APP_FILTER, useClass: MeshHttpExceptionFilter }],
    })
    class GatewayModule {}

    const strategy = new MeshServer({ service: 'node-peer', registry });
    service = await NestFactory.createMicroservice(ServiceModule, { strategy, logger: false });
    gateway = await NestFactory.create(GatewayModule, { logger: false });
    [python] = await Promise.all([
      PythonPeer.start('interop_peer.py', { registry, service: 'python-peer' }),
      service.listen(),
      gateway.listen(0, '127.0.0.1'),
    ]);
    client = new MeshClientProxy({ service: 'caller', registry, to: 'python-peer' });
  });

  afterAll(async () => {
    await client?.close();
    await gateway?.close();
    await service?.close();
    const code = await python?.stop();
    await redis?.stop();
    expect(code).toBe(0);
  });

  async function answerOf(body: unknown): Promise<[number, unknown]> {
    const response = await fetch(`${await gateway.getUrl()}/fail`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', connection: 'close' },
    });
    return [response.status, await response.json()];
  }

  it('answers at a gateway with the status and the body of an HttpError of Python', async () => {
    await expect(answerOf({ kind: 'http', status: 404, response: 'no order 7' })).resolves.toEqual([
      404,
      { message: 'no order 7', error: 'Not Found', statusCode: 404 },
    ]);
    await expect(answerOf({ kind: 'http', status: 418, response: { short: true } })).resolves.toEqual([
      418,
      { short: true },
    ]);
    await expect(answerOf({ kind: 'mesh' })).resolves.toEqual([
      400,
      { statusCode: 400, message: 'a MeshError', code: 'FAILED_PRECONDITION' },
    ]);
    expect((await answerOf({ kind: 'value' }))[0]).toBe(500);
  });

  it('tells Nest that an error of Python is too large for a packet', async () => {
    await expect(client.call('fail', { kind: 'large' })).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'unknown',
    });
  });

  it.each(['fail', 'fail-midway'])(
    'tells Nest the errorId that is in the log of Python (%s)',
    async (pattern) => {
      for (const kind of ['value', 'inner mesh']) {
        const error = await client.call(pattern, { kind }).catch((thrown: unknown) => thrown);
        expect(error).toEqual(MASKED);
        const { errorId } = error as { errorId?: string };
        await until(() =>
          Promise.resolve(
            python.printed.includes(
              `errorId ${errorId}: the handler of ${pattern}, called by caller, failed`,
            ),
          ),
        );
      }
    },
  );

  it('gives Python the http_status of what a handler behind MeshExceptionFilter throws', async () => {
    const caught = (data: string): Promise<unknown> =>
      client.call('ask', { service: 'node-peer', pattern: 'filtered', data });
    await expect(caught('http')).resolves.toMatchObject({
      httpStatus: 404,
      payload: {
        code: 'NOT_FOUND',
        message: 'no order 7',
        details: { response: { message: 'no order 7', error: 'Not Found', statusCode: 404 } },
      },
      errorId: null,
    });
    await expect(caught('text')).resolves.toMatchObject({
      httpStatus: 500,
      payload: { message: 'sold out' },
    });
    await expect(caught('mesh')).resolves.toEqual({ code: 'ABORTED', delivery: 'unknown', httpStatus: 409 });
    await expect(caught('other')).resolves.toMatchObject({
      httpStatus: 500,
      payload: { message: 'Internal server error' },
      errorId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it.each([
    ['plain', {}],
    ['plain stream', { stream: true }],
  ])('gives Python the shapes of Nest and the errorId beside them (%s)', async (pattern, how) => {
    const caught = (data: string): Promise<unknown> =>
      client.call('ask', { service: 'node-peer', pattern, data, ...how });
    await expect(caught('text')).resolves.toEqual({
      payload: { status: 'error', message: 'sold out' },
      httpStatus: null,
      errorId: null,
    });
    await expect(caught('object')).resolves.toMatchObject({ payload: { reason: 'sold out' } });
    for (const masked of ['http', 'mesh', 'other']) {
      await expect(caught(masked)).resolves.toEqual({
        payload: MASKED,
        httpStatus: null,
        errorId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      });
    }
  });
});
