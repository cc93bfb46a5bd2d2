/** The pair of filters: what a service throws is the HTTP response of a gateway, over a real hybrid application and HTTP. */
import { describe, expect, it } from '@jest/globals';
import {
  BadRequestException,
  Controller,
  Get,
  HttpException,
  NotFoundException,
  Param,
  ParseIntPipe,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type CanActivate,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import type { AddressInfo } from 'node:net';
import { concat, of, throwError, type Observable } from 'rxjs';
import {
  AsyncIterableInterceptor,
  MESH_ERROR_CODES,
  MeshClientProxy,
  MeshError,
  MeshExceptionFilter,
  MeshHttpExceptionFilter,
  MeshServer,
  type MeshErrorCode,
} from '../../lib/index.js';
import { HTTP_STATUS_OF_ERROR_CODE } from '../../lib/protocol/error-code.js';
import { LogBook, until, useBench, valuesOf, type Bench } from './nest-fixture.js';

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** What can be thrown, by name. */
const THROWN: Record<string, () => unknown> = {
  'not-found': () => new NotFoundException('no order 7'),
  bare: () => new NotFoundException(),
  text: () => new HttpException('gone for good', 410),
  'own-body': () => new BadRequestException({ fields: ['name'], hint: 'fill it in' }),
  described: () => new NotFoundException('no order', { errorCode: 'E7' }),
  'http-error': () => new HttpException(new Error('secret') as never, 502),
  'bad-status': () => new HttpException('odd', 99),
  rpc: () => new RpcException('boom'),
  'rpc-status': () => new RpcException({ code: 'TEAPOT', status: 418, message: 'short and stout' }),
  'rpc-code': () => new RpcException({ code: 'ALREADY_EXISTS', message: 'twice' }),
  'rpc-bare': () => new RpcException({ reason: 'none' }),
  'rpc-error': () => new RpcException(new Error('inner')),
  'rpc-http': () => new RpcException(new NotFoundException('inside')),
  'rpc-bigint': () => new RpcException({ big: 1n }),
  mesh: () => new MeshError('ABORTED', 'changed meanwhile', { delivery: 'not-sent' }),
  'rpc-mesh': () => new RpcException(new MeshError('ABORTED', 'changed meanwhile')),
  error: () => new Error('secret'),
  'plain-text': () => 'secret',
  // Not quite what the filter makes: nothing of it may be believed.
  forged: () => ({ status: 'error', code: 'NOT_FOUND', message: 'secret', details: { httpStatus: 101 } }),
  cyclic: () => {
    const value: Record<string, unknown> = { text: 'secret' };
    value['self'] = value;
    return value;
  },
};

class Refuse implements CanActivate {
  canActivate(): boolean {
    return false;
  }
}

@Controller()
@UseFilters(MeshExceptionFilter)
class OrdersController {
  @MessagePattern('throw')
  throw(what: string): unknown {
    throw MESH_ERROR_CODES.includes(what as MeshErrorCode)
      ? new MeshError(what as MeshErrorCode, 'internals')
      : THROWN[what]?.();
  }
  @MessagePattern('midway')
  midway(what: string): Observable<unknown> {
    return concat(
      of(1),
      throwError(() => THROWN[what]?.()),
    );
  }
  @UseInterceptors(AsyncIterableInterceptor)
  @MessagePattern('generator')
  async *generator(what: string): AsyncIterable<unknown> {
    yield 1;
    throw THROWN[what]?.();
  }
  @MessagePattern('piped')
  piped(@Payload('n', ParseIntPipe) n: number): number {
    return n;
  }
  @UseGuards(Refuse)
  @MessagePattern('guarded')
  guarded(): string {
    return 'never';
  }
  @EventPattern('throw-event')
  event(what: string): unknown {
    throw THROWN[what]?.();
  }
}

/** No filter of ours here. */
@Controller()
class PlainController {
  @MessagePattern('plain-throw')
  throw(what: string): unknown {
    throw THROWN[what]?.();
  }
  @MessagePattern('plain-generator')
  async *generator(what: string): AsyncIterable<unknown> {
    yield 1;
    throw THROWN[what]?.();
  }
  @MessagePattern('not-json')
  notJson(): unknown {
    return { secret: 1n };
  }
}

/** A service between the gateway and the orders. */
@Controller()
@UseFilters(MeshExceptionFilter)
class MiddleController {
  constructor(private readonly mesh: MeshClientProxy) {}
  @MessagePattern('middle')
  middle(what: string): Promise<unknown> {
    return this.mesh.call('throw', what);
  }
}

@Controller()
class GatewayController {
  constructor(private readonly mesh: MeshClientProxy) {}
  @Get('call/:pattern/:what')
  call(@Param('pattern') pattern: string, @Param('what') what: string): Promise<unknown> {
    return this.mesh.call(pattern, what);
  }
  @Get('send/:pattern/:what')
  send(@Param('pattern') pattern: string, @Param('what') what: string): Observable<unknown> {
    return this.mesh.send(pattern, what);
  }
  @Get('middle/:what')
  middle(@Param('what') what: string): Promise<unknown> {
    return this.mesh.to('middle').call('middle', what);
  }
  @Get('nowhere')
  nowhere(): Promise<unknown> {
    return this.mesh.to('no-such-service').with({ timeoutMs: 50 }).call('throw', {});
  }
  @Get('own/:what')
  own(@Param('what') what: string): unknown {
    throw THROWN[what]?.();
  }
  @MessagePattern('gateway-throw')
  throw(what: string): unknown {
    throw THROWN[what]?.();
  }
}

/** A gateway that answers HTTP and is itself a service of the mesh. */
interface Gateway {
  readonly app: INestApplication;
  /** Also what the service logs: Nest has one logger for all applications of a process, the last that was set. */
  readonly logs: LogBook;
  get(path: string): Promise<{ status: number; body: Record<string, unknown> }>;
}

async function startGateway(
  bench: Bench,
  registry: string,
  filters: readonly Type[] = [MeshHttpExceptionFilter],
  configure: (app: INestApplication) => void = () => undefined,
): Promise<Gateway> {
  const logs = new LogBook();
  const client = bench.client({ registry, to: 'service' });
  const module = await bench.compile(
    {
      controllers: [GatewayController],
      providers: [
        { provide: MeshClientProxy, useValue: client },
        ...filters.map((useClass) => ({ provide: APP_FILTER, useClass })),
      ],
    },
    logs,
  );
  const app = bench.keep(module.createNestApplication());
  configure(app);
  const strategy = new MeshServer({ service: 'gateway', registry });
  app.connectMicroservice({ strategy }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    app,
    logs,
    async get(path) {
      // Kept-alive connections would hold the application open after the test.
      const response = await fetch(`http://127.0.0.1:${port}/${path}`, { headers: { connection: 'close' } });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    },
  };
}

describe('a handler behind MeshExceptionFilter', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [OrdersController, PlainController] });

  const wire = (code: string, message: string, httpStatus: number, response: unknown, more = {}) => ({
    status: 'error',
    code,
    message,
    details: { httpStatus, response, ...more },
  });
  const KNOWN: [string, unknown][] = [
    [
      'not-found',
      wire('NOT_FOUND', 'no order 7', 404, { message: 'no order 7', error: 'Not Found', statusCode: 404 }),
    ],
    ['bare', wire('NOT_FOUND', 'Not Found', 404, { message: 'Not Found', statusCode: 404 })],
    ['text', wire('NOT_FOUND', 'gone for good', 410, { message: 'gone for good', statusCode: 410 })],
    [
      'own-body',
      wire('INVALID_ARGUMENT', 'Bad Request Exception', 400, { fields: ['name'], hint: 'fill it in' }),
    ],
    ['http-error', wire('UNAVAILABLE', 'Bad Gateway', 502, { message: 'Bad Gateway', statusCode: 502 })],
    ['bad-status', wire('INTERNAL', 'odd', 500, { message: 'odd', statusCode: 500 })],
    ['rpc', wire('UNKNOWN', 'boom', 500, { message: 'boom', statusCode: 500 })],
    [
      'rpc-status',
      wire(
        'FAILED_PRECONDITION',
        'short and stout',
        418,
        { message: 'short and stout', statusCode: 418 },
        { payload: { code: 'TEAPOT', status: 418, message: 'short and stout' } },
      ),
    ],
    [
      'rpc-code',
      wire(
        'ALREADY_EXISTS',
        'twice',
        409,
        { message: 'twice', statusCode: 409 },
        { payload: { code: 'ALREADY_EXISTS', message: 'twice' } },
      ),
    ],
    [
      'rpc-bare',
      wire(
        'UNKNOWN',
        'Rpc Exception',
        500,
        { message: 'Rpc Exception', statusCode: 500 },
        { payload: { reason: 'none' } },
      ),
    ],
    ['rpc-error', wire('UNKNOWN', 'inner', 500, { message: 'inner', statusCode: 500 })],
    [
      'rpc-http',
      wire('NOT_FOUND', 'inside', 404, { message: 'inside', error: 'Not Found', statusCode: 404 }),
    ],
  ];

  it.each(KNOWN)('tells its callers code, message, status and body of %s', async (what, error) => {
    const { client } = await service();
    await expect(client.call('throw', what)).rejects.toEqual(error);
    await expect(valuesOf(client.send('midway', what))).rejects.toEqual(error);
    await expect(valuesOf(client.send('generator', what))).rejects.toEqual(error);
  });

  it('keeps the errorCode of an HttpException', async () => {
    const { client } = await service();
    await expect(client.call('throw', 'described')).rejects.toMatchObject({
      details: { response: { errorCode: 'E7' } },
    });
  });

  it('tells a refusal of a pipe as 400 and of a guard as 403', async () => {
    const { client } = await service();
    await expect(client.call('piped', { n: 'x' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { httpStatus: 400 },
    });
    await expect(client.call('guarded', {})).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      details: { httpStatus: 403 },
    });
  });

  it.each(['mesh', 'rpc-mesh'])('lets a MeshError be one, with delivery unknown: %s', async (what) => {
    const { client } = await service();
    const error = await client.call('throw', what).catch((reason: unknown) => reason);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'ABORTED', rawMessage: 'changed meanwhile', delivery: 'unknown' });
  });

  it.each(['error', 'plain-text', 'forged', 'cyclic'])(
    'masks what is not meant for callers, with an errorId that is in its log: %s',
    async (what) => {
      const { client, logs } = await service();
      const error = await client.call('throw', what).catch((reason: unknown) => reason);
      const errorId: string = (error as { details: { errorId: string } }).details.errorId;
      expect(errorId).toMatch(UUID);
      expect(error).toEqual(
        wire(
          'UNKNOWN',
          'Internal server error',
          500,
          { statusCode: 500, message: 'Internal server error', errorId },
          { errorId },
        ),
      );
      expect(logs.find('error', errorId)).toHaveLength(1);
      if (what !== 'cyclic') expect(logs.find('error', errorId, 'secret')).toHaveLength(1);
    },
  );

  it('answers with the plain masked error when the payload is no JSON', async () => {
    const { client } = await service();
    await expect(client.call('throw', 'rpc-bigint')).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });

  it('logs what an event handler throws, since no caller is told', async () => {
    const { client, logs } = await service();
    client.emit('throw-event', 'not-found');
    client.emit('throw-event', 'error');
    await until(() => logs.find('error', 'no order 7').length === 1, 'the exception is logged');
    await until(() => logs.find('error', 'errorId', 'secret').length === 1, 'the error is logged');
  });

  it('does not change handlers that are not behind it', async () => {
    const { client } = await service();
    const masked = { status: 'error', message: 'Internal server error' };
    await expect(client.call('plain-throw', 'not-found')).rejects.toEqual(masked);
    await expect(client.call('plain-throw', 'rpc')).rejects.toEqual({ status: 'error', message: 'boom' });
  });
});

describe('an error that this package masks without a filter', () => {
  const bench = useBench();

  it("has the letter of Nest's shape for callers, and its errorId in the log", async () => {
    const { client, logs } = await bench.start({ controllers: [PlainController] });
    const masked = { status: 'error', message: 'Internal server error' };
    await expect(valuesOf(client.send('plain-generator', 'error'))).rejects.toStrictEqual(masked);
    await expect(client.call('not-json', {})).rejects.toStrictEqual(masked);
    const [generator, ...more] = logs.find('error', 'errorId', 'secret');
    expect(generator).toMatch(UUID);
    expect(more).toEqual([]);
    const [notJson] = logs.find('error', 'errorId', 'could not be sent');
    expect(notJson).toMatch(UUID);
    expect(UUID.exec(notJson ?? '')?.[0]).not.toBe(UUID.exec(generator ?? '')?.[0]);
  });
});

describe('a gateway behind MeshHttpExceptionFilter', () => {
  const bench = useBench();
  const start = async () => {
    const { registry } = await bench.start({ controllers: [OrdersController, PlainController] });
    return { registry, ...(await startGateway(bench, registry)) };
  };

  it('answers what a service throws as if it were thrown here', async () => {
    const { get, logs } = await start();
    for (const [what, status] of [
      ['not-found', 404],
      ['bare', 404],
      ['text', 410],
      ['own-body', 400],
      ['described', 404],
      ['http-error', 502],
    ] as const) {
      const here = await get(`own/${what}`);
      expect(here.status).toBe(status);
      if (what === 'http-error') {
        // What Nest itself says of an Error as the body is its own affair; the text stays inside on both ways.
        expect(JSON.stringify((await get(`call/throw/${what}`)).body)).not.toContain('secret');
        continue;
      }
      await expect(get(`call/throw/${what}`)).resolves.toEqual(here);
      await expect(get(`send/throw/${what}`)).resolves.toEqual(here);
    }
    expect(logs.find('error')).toEqual([]);
  });

  it('answers an RpcException by its message and the status that fits it', async () => {
    const { get } = await start();
    await expect(get('call/throw/rpc')).resolves.toEqual({
      status: 500,
      body: { statusCode: 500, message: 'boom' },
    });
    await expect(get('call/throw/rpc-status')).resolves.toEqual({
      status: 418,
      body: { statusCode: 418, message: 'short and stout' },
    });
    await expect(get('call/throw/rpc-code')).resolves.toMatchObject({ status: 409 });
  });

  it.each(Object.entries(HTTP_STATUS_OF_ERROR_CODE))(
    'answers a MeshError %s by %d, with its message only below 500',
    async (code, statusCode) => {
      const { get, logs } = await start();
      const { status, body } = await get(`call/throw/${code}`);
      expect(status).toBe(statusCode);
      expect(body).toMatchObject({ statusCode, code });
      const shown = statusCode < 500;
      expect(body['message'] === 'internals').toBe(shown);
      expect(logs.find('error', 'internals')).toHaveLength(shown ? 0 : 1);
    },
  );

  it('answers 503 or 504 for a service that is not there, and logs which', async () => {
    const { get, logs } = await start();
    const { status, body } = await get('nowhere');
    expect([503, 504]).toContain(status);
    expect(JSON.stringify(body)).not.toContain('no-such-service');
    expect(logs.find('error', 'no-such-service')).toHaveLength(1);
  });

  it('answers 501 for a pattern that the service does not have', async () => {
    const { get, logs } = await start();
    await expect(get('call/no-such-pattern/x')).resolves.toEqual({
      status: 501,
      body: { statusCode: 501, message: 'Not Implemented', code: 'UNIMPLEMENTED' },
    });
    expect(logs.find('error', 'no matching message handler')).toHaveLength(1);
  });

  it("shows the errorId of what a service masked, and it is in that service's log", async () => {
    const { get, logs } = await start();
    const { status, body } = await get('call/throw/error');
    expect(status).toBe(500);
    expect(body).toEqual({
      statusCode: 500,
      message: 'Internal server error',
      errorId: expect.stringMatching(UUID),
    });
    expect(logs.find('error', String(body['errorId']), 'secret')).toHaveLength(1);
  });

  it("leaves to Nest what is not the mesh's, and what comes from a handler without MeshExceptionFilter", async () => {
    const { get } = await start();
    const masked = { status: 500, body: { statusCode: 500, message: 'Internal server error' } };
    await expect(get('own/error')).resolves.toEqual(masked);
    await expect(get('call/plain-throw/not-found')).resolves.toEqual(masked);
    await expect(get('call/plain-throw/forged')).resolves.toEqual(masked);
    await expect(get('no/such/route')).resolves.toMatchObject({ status: 404 });
  });

  it('answers what was thrown two hops away', async () => {
    const { registry, get } = await start();
    const mesh = bench.client({ registry, to: 'service' });
    const module = await bench.compile({
      controllers: [MiddleController],
      providers: [{ provide: MeshClientProxy, useValue: mesh }],
    });
    const strategy = new MeshServer({ service: 'middle', registry });
    const middle = bench.keep(module.createNestMicroservice({ strategy }));
    await middle.listen();
    await expect(get('middle/not-found')).resolves.toEqual(await get('own/not-found'));
    const { status, body } = await get('middle/error');
    expect(status).toBe(500);
    expect(body['errorId']).toEqual(expect.stringMatching(UUID));
  });

  it('is also the filter of the mesh handlers of the same application', async () => {
    const { registry } = await start();
    const client = bench.client({ registry, to: 'gateway' });
    await expect(client.call('gateway-throw', 'not-found')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { httpStatus: 404 },
    });
  });

  it('works when it is made by hand with the HTTP adapter', async () => {
    const { registry } = await bench.start({ controllers: [OrdersController] });
    const { get } = await startGateway(bench, registry, [], (app) =>
      app.useGlobalFilters(new MeshHttpExceptionFilter(app.getHttpAdapter())),
    );
    await expect(get('call/throw/not-found')).resolves.toMatchObject({
      status: 404,
      body: { message: 'no order 7' },
    });
  });

  it('says how to make it when it has no HTTP adapter, and the request still ends', async () => {
    const { registry } = await bench.start({ controllers: [OrdersController] });
    const { app, logs } = await startGateway(bench, registry, [], (each) =>
      each.useGlobalFilters(new MeshHttpExceptionFilter()),
    );
    const { port } = app.getHttpServer().address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/call/throw/not-found`;
    const response = await fetch(url, { headers: { connection: 'close' } });
    expect(response.ok).toBe(false);
    await response.text();
    expect(logs.find('error', 'new MeshHttpExceptionFilter(app.getHttpAdapter())')).not.toEqual([]);
  });
});
