/** Plain HTTP/2: `curl` calls the handlers of a Nest service, and a supervisor learns how the node is. */
import { describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { NO_MESSAGE_HANDLER } from '@nestjs/microservices/constants.js';
import { execFile } from 'node:child_process';
import { connect, constants, type ClientHttp2Session, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { EMPTY, Observable, of } from 'rxjs';
import { MeshContext, MeshError, type MeshOptions, type MeshServer } from '../../lib/index.js';
import { DEFAULT_WIRE_LIMITS } from '../../lib/protocol/limits.js';
import { gate, until, useBench } from '../nest/nest-fixture.js';

const bench = useBench();

/** What the controller has seen; cleared by each start. */
const seen = { events: [] as unknown[], aborted: [] as string[], waiting: 0, closed: 0, unsubscribed: 0 };
let release = gate();

@Controller()
class OrdersController {
  @MessagePattern('orders.total')
  total(@Payload() prices: number[]): number {
    return prices.reduce((sum, price) => sum + price, 0);
  }

  @MessagePattern('a/b c%ü')
  odd(): string {
    return 'odd';
  }

  @MessagePattern({ cmd: 'get', by: 'id' })
  byObject(@Payload() id: number): { id: number } {
    return { id };
  }

  @MessagePattern('type of data')
  typeOf(@Payload() data: unknown): string {
    return typeof data;
  }

  @MessagePattern('null')
  nothing(): null {
    return null;
  }

  @MessagePattern('undefined')
  missing(): undefined {
    return undefined;
  }

  @MessagePattern('empty')
  empty(): Observable<never> {
    return EMPTY;
  }

  @MessagePattern('observable of one')
  one(): Observable<string> {
    return of('one');
  }

  @MessagePattern('generator of one')
  async *generatorOfOne(): AsyncGenerator<string> {
    yield 'one';
  }

  @MessagePattern('generator of many')
  async *many(): AsyncGenerator<number> {
    try {
      for (let n = 1; ; n += 1) yield n;
    } finally {
      seen.closed += 1;
    }
  }

  @MessagePattern('observable of many')
  manyObserved(): Observable<number> {
    return new Observable((observer) => {
      // A source without end, at a pace that leaves others their turn.
      const timer = setInterval(() => observer.next(1), 1);
      return () => {
        clearInterval(timer);
        seen.unsubscribed += 1;
      };
    });
  }

  @MessagePattern('metadata')
  metadata(@Ctx() context: MeshContext): unknown {
    return { metadata: context.getMetadata(), service: context.peer.service };
  }

  @MessagePattern('deadline')
  deadline(@Ctx() context: MeshContext): boolean {
    return context.deadline !== undefined && context.deadline - Date.now() <= 5_000;
  }

  @MessagePattern('call back')
  callBack(@Ctx() context: MeshContext): Promise<unknown> {
    return context.client.call('anything', {});
  }

  @MessagePattern('wait')
  async wait(@Ctx() context: MeshContext): Promise<string> {
    context.signal.addEventListener('abort', () =>
      seen.aborted.push((context.signal.reason as MeshError).code),
    );
    seen.waiting += 1;
    await release.promise;
    return 'waited';
  }

  @MessagePattern('fail')
  fail(@Payload() how: string): unknown {
    if (how === 'object') throw new RpcException({ reason: 'sold out', left: 0 });
    if (how === 'text') throw new RpcException('sold out');
    if (how === 'mesh') throw new RpcException(new MeshError('ABORTED', 'changed meanwhile'));
    throw new Error('a secret');
  }

  @MessagePattern('large')
  large(@Payload() bytes: number): string {
    return 'x'.repeat(bytes);
  }

  @EventPattern('order.created')
  created(@Payload() data: unknown, @Ctx() context: unknown): void {
    seen.events.push([data, (context as MeshContext).getMetadata()?.['x-trace']]);
  }
}

type Options = Partial<MeshOptions> & { readonly registry?: string };

interface Running {
  readonly app: INestMicroservice;
  readonly server: MeshServer;
  readonly url: string;
}

async function running(options: Options = {}): Promise<Running> {
  Object.assign(seen, { events: [], aborted: [], waiting: 0, closed: 0, unsubscribed: 0 });
  release = gate();
  const { app, server } = await bench.start({ controllers: [OrdersController] }, { options });
  return { app, server, url: urlOf(server) };
}

function urlOf(server: MeshServer): string {
  return `http://127.0.0.1:${(server.unwrap<Http2Server>().address() as AddressInfo).port}`;
}

interface Answer {
  readonly status: number;
  /** The body as JSON; `undefined` without one. */
  readonly body: unknown;
}

const JSON_TYPE = ['-H', 'content-type: application/json'];
const SEPARATOR = '\nstatus ';

function curl(url: string, ...args: string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const words = ['-sS', '--http2-prior-knowledge', '--max-time', '10', '-w', `${SEPARATOR}%{http_code}`];
    execFile('curl', [...words, ...args, url], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) {
        reject(new Error(`curl failed: ${stderr || error.message}`));
        return;
      }
      const [text = '', status] = stdout.split(SEPARATOR);
      resolve({ status: Number(status), body: text === '' ? undefined : JSON.parse(text) });
    });
  });
}

function call(url: string, route: string, data?: unknown, ...args: string[]): Promise<Answer> {
  const body = data === undefined ? ['-X', 'POST'] : [...JSON_TYPE, '-d', JSON.stringify(data)];
  return curl(`${url}/rpc/${encodeURIComponent(route)}`, ...body, ...args);
}

const refusal = (code: string, message: unknown): unknown => ({ error: { code, message } });
const containing = (text: string): unknown => expect.stringContaining(text);

function session(url: string): ClientHttp2Session {
  const http2 = connect(url);
  bench.keep({
    close: async () => {
      http2.destroy();
    },
  });
  return http2;
}

/** Over `http2`, for what `curl` cannot do. */
function ask(http2: ClientHttp2Session, headers: Record<string, string>, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = http2.request({ ':method': 'POST', ...headers });
    let status = 0;
    let text = '';
    stream.setEncoding('utf8');
    stream.on('response', (answer) => (status = answer[':status'] ?? 0));
    stream.on('data', (chunk: string) => (text += chunk));
    stream.on('end', () => {
      resolve({ status, body: text === '' ? undefined : JSON.parse(text) });
      // A body that was begun is never ended here.
      stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on('error', reject);
    if (body !== undefined) stream.write(body);
    else stream.end();
  });
}

describe('A call over plain HTTP/2', () => {
  it('reaches a handler with the JSON of its body, and its answer is the JSON of the response', async () => {
    const { url } = await running();
    await expect(call(url, 'orders.total', [2, 40])).resolves.toEqual({ status: 200, body: 42 });
    await expect(call(url, 'null', {})).resolves.toEqual({ status: 200, body: null });
  });

  it('finds every route, percent-encoded, and object patterns by their text in any order of keys', async () => {
    const { url } = await running();
    await expect(call(url, 'a/b c%ü')).resolves.toEqual({ status: 200, body: 'odd' });
    for (const pattern of ['{"by":"id","cmd":"get"}', '{"cmd":"get","by":"id"}'])
      await expect(call(url, pattern, 7)).resolves.toEqual({ status: 200, body: { id: 7 } });
    await expect(curl(`${url}/rpc/orders.total?debug=1`, ...JSON_TYPE, '-d', '[1]')).resolves.toEqual({
      status: 200,
      body: 1,
    });
  });

  it('without a body has no data', async () => {
    const { url } = await running();
    await expect(call(url, 'type of data')).resolves.toMatchObject({ body: 'undefined' });
    await expect(call(url, 'type of data', 'text')).resolves.toMatchObject({ body: 'string' });
  });

  it('is answered with 204 when the handler gives no value', async () => {
    const { url } = await running();
    for (const route of ['undefined', 'empty'])
      await expect(call(url, route)).resolves.toEqual({ status: 204, body: undefined });
  });

  it('takes one value from whatever gives it', async () => {
    const { url } = await running();
    for (const route of ['observable of one', 'generator of one'])
      await expect(call(url, route)).resolves.toEqual({ status: 200, body: 'one' });
  });

  it('is refused when the handler gives several values, and the handler is stopped', async () => {
    const { url } = await running();
    for (const route of ['generator of many', 'observable of many']) {
      await expect(call(url, route)).resolves.toEqual({
        status: 501,
        body: refusal('UNIMPLEMENTED', containing('call stream')),
      });
    }
    await until(() => seen.closed === 1 && seen.unsubscribed === 1, 'both handlers are stopped');
  });

  it('carries headers as metadata, and needs no name of the caller', async () => {
    const { url } = await running();
    const { body } = await call(url, 'metadata', {}, '-H', 'x-trace: 7');
    expect(body).toMatchObject({ metadata: { 'x-trace': '7' }, service: '' });
    const named = await call(
      url,
      'metadata',
      {},
      '-H',
      'x-service-name: shop',
      '-H',
      'x-mesh-metadata: %7B%22a%22%3A%22%C3%BC%22%7D',
    );
    expect(named.body).toMatchObject({ metadata: { a: 'ü' }, service: 'shop' });
    expect(JSON.stringify(named.body)).not.toContain('x-mesh-');
  });

  it('keeps many calls of one connection apart', async () => {
    const { url } = await running();
    const http2 = session(url);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => ask(http2, { ':path': '/rpc/observable%20of%20one' })),
    );
    expect(answers).toEqual(Array.from({ length: 50 }, () => ({ status: 200, body: 'one' })));
  });
});

describe('An error over plain HTTP/2', () => {
  it('of no handler is 404 in the words of Nest', async () => {
    const { url } = await running();
    const body = refusal('NOT_FOUND', NO_MESSAGE_HANDLER);
    await expect(call(url, 'no such route')).resolves.toEqual({ status: 404, body });
  });

  it('of a handler is 500 with what its RpcException holds, and masked otherwise', async () => {
    const { url } = await running();
    const fail = async (how: string): Promise<unknown> => {
      const { status, body } = await call(url, 'fail', how);
      return [status, (body as { error: unknown }).error];
    };
    await expect(fail('object')).resolves.toEqual([
      500,
      { code: 'UNKNOWN', message: 'the handler failed', details: { reason: 'sold out', left: 0 } },
    ]);
    await expect(fail('text')).resolves.toEqual([
      500,
      { code: 'UNKNOWN', message: 'sold out', details: { status: 'error', message: 'sold out' } },
    ]);
    await expect(fail('mesh')).resolves.toEqual([409, { code: 'ABORTED', message: 'changed meanwhile' }]);
    const masked = await fail('secret');
    expect(masked).toMatchObject([500, { code: 'UNKNOWN', message: 'Internal server error' }]);
    expect(JSON.stringify(masked)).not.toContain('secret');
  });

  it('names what is wrong with the request', async () => {
    const { url } = await running();
    const cases: [Promise<Answer>, number, string, string][] = [
      [curl(`${url}/rpc/orders.total`, ...JSON_TYPE, '-d', '{'), 400, 'INVALID_ARGUMENT', 'not JSON'],
      [
        curl(`${url}/rpc/orders.total`, '-d', '[1]'),
        400,
        'INVALID_ARGUMENT',
        'must be application/json, not application/x-www-form-urlencoded',
      ],
      [curl(`${url}/rpc/`, '-X', 'POST'), 400, 'INVALID_ARGUMENT', '/rpc/{route}'],
      [curl(`${url}/rpc/%zz`, '-X', 'POST'), 400, 'INVALID_ARGUMENT', '%zz'],
      [call(url, 'null', {}, '-H', 'x-mesh-timeout: soon'), 400, 'INVALID_ARGUMENT', 'not soon'],
      [
        call(url, 'null', {}, '-H', 'origin: https://page.example'),
        403,
        'PERMISSION_DENIED',
        'https://page.example',
      ],
      [curl(`${url}/rpc/null`), 501, 'UNIMPLEMENTED', '/rpc takes POST, not GET'],
      [curl(`${url}/health`, '-X', 'POST'), 501, 'UNIMPLEMENTED', '/health takes GET or HEAD, not POST'],
    ];
    for (const [answer, status, code, message] of cases)
      await expect(answer).resolves.toEqual({ status, body: refusal(code, containing(message)) });
  });

  it('names limits.maxFrameBytes for a body that is too large, declared or not, and for such an answer', async () => {
    const { url } = await running({ limits: { ...DEFAULT_WIRE_LIMITS, maxFrameBytes: 4_096 } });
    const tooLarge = {
      status: 429,
      body: refusal('RESOURCE_EXHAUSTED', containing('limits.maxFrameBytes (4096)')),
    };
    const http2 = session(url);
    const path = { ':path': '/rpc/type%20of%20data' };
    await expect(ask(http2, { ...path, 'content-length': '5000' }, Buffer.alloc(1))).resolves.toEqual(
      tooLarge,
    );
    await expect(ask(http2, path, Buffer.alloc(5_000, ' '))).resolves.toEqual(tooLarge);
    await expect(call(url, 'large', 5_000)).resolves.toEqual(tooLarge);
    await expect(call(url, 'type of data', 'x'.repeat(4_000))).resolves.toEqual({
      status: 200,
      body: 'string',
    });
    await expect(call(url, 'large', 4_000)).resolves.toMatchObject({ status: 200 });
  });

  it('ends a body that stands still', async () => {
    const { url } = await running({ limits: { incompleteFrameTimeoutMs: 100 } });
    await expect(ask(session(url), { ':path': '/rpc/null' }, Buffer.from('['))).resolves.toEqual({
      status: 504,
      body: refusal('DEADLINE_EXCEEDED', containing('limits.incompleteFrameTimeoutMs')),
    });
  });

  it('comes at once when a handler wants to call back a caller who has no name', async () => {
    const { url } = await running();
    await expect(call(url, 'call back')).resolves.toMatchObject({ status: 500 });
  });
});

describe('The end of a call over plain HTTP/2', () => {
  it('comes with x-mesh-timeout: the caller is told, and the handler is cancelled', async () => {
    const { url } = await running();
    await expect(call(url, 'wait', {}, '-H', 'x-mesh-timeout: 200')).resolves.toEqual({
      status: 504,
      body: refusal('DEADLINE_EXCEEDED', containing('within 200 ms')),
    });
    expect(seen.aborted).toEqual(['DEADLINE_EXCEEDED']);
    await expect(call(url, 'wait', {}, '-H', 'x-mesh-timeout: 0')).resolves.toMatchObject({ status: 504 });
    expect(seen.waiting).toBe(1);
    await expect(call(url, 'deadline', {}, '-H', 'x-mesh-timeout: 5000')).resolves.toMatchObject({
      body: true,
    });
  });

  it('comes when the caller resets its stream, or is gone', async () => {
    const { url } = await running();
    const http2 = session(url);
    const stream = http2.request({ ':method': 'POST', ':path': '/rpc/wait' });
    stream.on('error', () => undefined);
    stream.end();
    await until(() => seen.waiting === 1, 'the handler runs');
    stream.close(constants.NGHTTP2_CANCEL);
    await until(() => seen.aborted.length === 1, 'the handler is cancelled by the reset');
    await expect(call(url, 'wait', {}, '--max-time', '0.3')).rejects.toThrow('curl failed');
    await until(() => seen.aborted.length === 2, 'the handler is cancelled by the loss');
    expect(seen.aborted).toEqual(['CANCELLED', 'CANCELLED']);
  });

  it('is waited for when the service shuts down, while new calls are refused', async () => {
    const { app, url } = await running();
    const http2 = session(url);
    const waiting = ask(http2, { ':path': '/rpc/wait' });
    await until(() => seen.waiting === 1, 'the handler runs');
    const closed = app.close();
    await expect(ask(http2, { ':path': '/rpc/null' })).resolves.toEqual({
      status: 503,
      body: refusal('UNAVAILABLE', 'this node is shutting down'),
    });
    await expect(ask(http2, { ':method': 'GET', ':path': '/health' })).resolves.toMatchObject({
      status: 200,
    });
    await expect(ask(http2, { ':method': 'GET', ':path': '/ready' })).resolves.toEqual({
      status: 503,
      body: { status: 'not ready', reasons: ['shutting down'] },
    });
    release.open();
    await expect(waiting).resolves.toEqual({ status: 200, body: 'waited' });
    await closed;
  });
});

describe('An event over plain HTTP/2', () => {
  it('is taken with 202 and reaches its handlers, with its metadata', async () => {
    const { url } = await running();
    const post = [...JSON_TYPE, '-H', 'x-trace: 7', '-d', '{"id":7}'];
    await expect(curl(`${url}/events/order.created`, ...post)).resolves.toEqual({
      status: 202,
      body: undefined,
    });
    await until(() => seen.events.length === 1, 'the handler runs');
    expect(seen.events).toEqual([[{ id: 7 }, '7']]);
  });

  it('that is not JSON is refused', async () => {
    const { url } = await running();
    await expect(curl(`${url}/events/order.created`, ...JSON_TYPE, '-d', '{')).resolves.toMatchObject({
      status: 400,
    });
    expect(seen.events).toEqual([]);
  });
});

describe('The state of a node over plain HTTP/2', () => {
  it('is live and ready once it is announced', async () => {
    const { url } = await running();
    await expect(curl(`${url}/health`)).resolves.toEqual({ status: 200, body: { status: 'live' } });
    await expect(curl(`${url}/ready`)).resolves.toEqual({ status: 200, body: { status: 'ready' } });
    await expect(curl(`${url}/health`, '-I', '-o', '/dev/null')).resolves.toMatchObject({ status: 200 });
  });

  it('is not ready before it is announced, with the reason', async () => {
    const { server } = await bench.start(
      {},
      { configure: (_, own) => own.announceAfter(new Promise(() => undefined)) },
    );
    await expect(curl(`${urlOf(server)}/health`)).resolves.toMatchObject({ status: 200 });
    await expect(curl(`${urlOf(server)}/ready`)).resolves.toEqual({
      status: 503,
      body: { status: 'not ready', reasons: ['not announced in the registry yet'] },
    });
  });
});

describe('The option http', () => {
  it('switches calls off by itself when the node listens beyond loopback', async () => {
    const { url } = await running({ host: '0.0.0.0' });
    for (const kind of ['rpc', 'events']) {
      await expect(curl(`${url}/${kind}/orders.total`, ...JSON_TYPE, '-d', '[1]')).resolves.toEqual({
        status: 404,
        body: refusal('NOT_FOUND', `/${kind} is switched off at this node (option http.rpc)`),
      });
    }
    await expect(curl(`${url}/health`)).resolves.toMatchObject({ status: 200 });
  });

  it('switches calls on where it says so, and the states off', async () => {
    const { url } = await running({ host: '0.0.0.0', http: { rpc: true, health: false } });
    await expect(call(url, 'orders.total', [1])).resolves.toEqual({ status: 200, body: 1 });
    await expect(curl(`${url}/ready`)).resolves.toEqual({
      status: 404,
      body: refusal('NOT_FOUND', containing('option http.health')),
    });
  });
});
