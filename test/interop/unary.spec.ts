/** Plain HTTP/2: the same request gets the same answer from a Nest service and from a Python peer. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { EventPattern, MessagePattern, RpcException } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2';
import { MeshError, MeshServer } from '../../lib/index.js';
import { PythonPeer } from '../support/python-peer.js';
import { RedisServer } from '../support/redis-server.js';

@Controller()
class NestController {
  @MessagePattern('sum')
  sum(data: { a: number; b: number }): number {
    return data.a + data.b;
  }

  @MessagePattern({ cmd: 'sum' })
  sumByObject(data: { a: number; b: number }): number {
    return data.a + data.b;
  }

  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data ?? null;
  }

  @MessagePattern('count')
  async *count(data: { n: number }): AsyncGenerator<number> {
    for (let n = 0; n < data.n; n += 1) yield n;
  }

  @MessagePattern('slow')
  async slow(): Promise<never> {
    return new Promise(() => undefined);
  }

  @MessagePattern('fail')
  fail(data: { kind: string }): never {
    if (data.kind === 'rpc') throw new RpcException({ code: 'E_TEST', message: 'an RpcError', data });
    if (data.kind === 'mesh')
      throw new RpcException(
        new MeshError('FAILED_PRECONDITION', 'a MeshError', { details: { kind: 'mesh' } }),
      );
    throw new RpcException({
      status: 'error',
      code: 'NOT_FOUND',
      message: 'no order 7',
      details: {
        httpStatus: 404,
        response: { message: 'no order 7', error: 'Not Found', statusCode: 404 },
      },
    });
  }

  @EventPattern('note')
  note(_data: unknown): void {
    // Nothing tells whether it ran.
  }
}

interface Answer {
  readonly status: number;
  readonly allow: unknown;
  readonly body: unknown;
}

type Row = readonly [name: string, expected: Partial<Answer>, headers: OutgoingHttpHeaders, body?: string];

describe('plain HTTP/2', () => {
  let redis: RedisServer;
  let python: PythonPeer;
  let app: INestMicroservice;
  let sessions: { readonly nest: ClientHttp2Session; readonly python: ClientHttp2Session };

  beforeAll(async () => {
    redis = await RedisServer.start();
    const registry = redis.url;
    const strategy = new MeshServer({ service: 'node-peer', registry, limits: { maxFrameBytes: 4_096 } });
    const module = await Test.createTestingModule({ controllers: [NestController] }).compile();
    app = module.createNestMicroservice({ strategy, logger: false });
    const args = ['--max-frame-bytes', '4096'];
    [python] = await Promise.all([
      PythonPeer.start('interop_peer.py', { registry, service: 'python-peer', args }),
      app.listen(),
    ]);
    const port = /^ready (\d+)$/m.exec(python.printed)?.[1];
    const address = strategy.unwrap<{ address(): { port: number } }>().address();
    sessions = {
      nest: connect(`http://127.0.0.1:${address.port}`),
      python: connect(`http://127.0.0.1:${port}`),
    };
  });

  afterAll(async () => {
    sessions?.nest.close();
    sessions?.python.close();
    await app?.close();
    const code = await python?.stop();
    await redis?.stop();
    expect(code).toBe(0);
  });

  const rows: readonly Row[] = [
    ['a call', { status: 200, body: 42 }, { ':path': '/rpc/sum' }, '{"a":2,"b":40}'],
    [
      'an object pattern',
      { status: 200, body: 42 },
      { ':path': `/rpc/${encodeURIComponent('{"cmd":"sum"}')}`, 'content-type': 'application/json' },
      '{"a":2,"b":40}',
    ],
    ['no data', { status: 200, body: null }, { ':path': '/rpc/echo' }],
    ['text', { status: 200, body: 'ä€𝄞' }, { ':path': '/rpc/echo?x=1' }, '"ä€𝄞"'],
    ['a stream of one value', { status: 200, body: 0 }, { ':path': '/rpc/count' }, '{"n":1}'],
    ['a stream of none', { status: 204, body: undefined }, { ':path': '/rpc/count' }, '{"n":0}'],
    ['a stream of several', { status: 501 }, { ':path': '/rpc/count' }, '{"n":2}'],
    ['an event', { status: 202, body: undefined }, { ':path': '/events/note' }, '{}'],
    ['an event that nobody takes', { status: 202 }, { ':path': '/events/nobody' }, '{}'],
    ['an error of a handler', { status: 500 }, { ':path': '/rpc/fail' }, '{"kind":"rpc"}'],
    ['an error of the mesh', { status: 400 }, { ':path': '/rpc/fail' }, '{"kind":"mesh"}'],
    [
      'an error with an HTTP status',
      { status: 404 },
      { ':path': '/rpc/fail' },
      '{"kind":"http","status":404,"response":"no order 7"}',
    ],
    ['no handler', { status: 404 }, { ':path': '/rpc/nobody' }],
    ['no route', { status: 400 }, { ':path': '/rpc/' }],
    ['a bad route', { status: 400 }, { ':path': '/rpc/%ff' }],
    ['no JSON', { status: 400 }, { ':path': '/rpc/echo' }, '{'],
    ['another type', { status: 415 }, { ':path': '/rpc/echo', 'content-type': 'text/plain' }, '1'],
    ['a web page', { status: 403 }, { ':path': '/rpc/echo', origin: 'http://localhost' }, '1'],
    ['a bad timeout', { status: 400 }, { ':path': '/rpc/echo', 'x-mesh-timeout': 'soon' }],
    ['no time', { status: 504 }, { ':path': '/rpc/echo', 'x-mesh-timeout': '0' }],
    ['too little time', { status: 504 }, { ':path': '/rpc/slow', 'x-mesh-timeout': '100' }, '{"ms":9000}'],
    ['too much data', { status: 413 }, { ':path': '/rpc/echo' }, JSON.stringify('x'.repeat(5_000))],
    ['another method', { status: 405, allow: 'POST' }, { ':path': '/rpc/echo', ':method': 'PUT' }],
    ['health', { status: 200, body: { status: 'live' } }, { ':path': '/health', ':method': 'GET' }],
    ['readiness', { status: 200, body: { status: 'ready' } }, { ':path': '/ready', ':method': 'GET' }],
    ['health by POST', { status: 405, allow: 'GET, HEAD' }, { ':path': '/health' }],
    ['another path', { status: 404 }, { ':path': '/elsewhere' }],
  ];

  it.each(rows.map((row) => [row[0], row] as const))('answers alike: %s', async (_name, row) => {
    const [, expected, headers, body] = row;
    const [nest, fromPython] = await Promise.all([
      ask(sessions.nest, headers, body),
      ask(sessions.python, headers, body),
    ]);
    expect(nest).toMatchObject(expected);
    expect({ ...fromPython, body: comparable(fromPython.body) }).toEqual({
      ...nest,
      body: comparable(nest.body),
    });
  });
});

/** The text of an error of the transport is each language's own. */
function comparable(body: unknown): unknown {
  const error = (body as { error?: { code?: string; message?: string; details?: unknown } } | null)?.error;
  return error?.code === undefined || error.details !== undefined ? body : { code: error.code };
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ...headers });
    let answer: Partial<Answer> = {};
    const chunks: Buffer[] = [];
    stream.on('response', (head) => (answer = { status: Number(head[':status']), allow: head['allow'] }));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('error', reject);
    stream.once('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const parsed: unknown = text === '' ? undefined : JSON.parse(text);
      resolve({ status: answer.status ?? 0, allow: answer.allow, body: parsed });
    });
    stream.end(body === '' ? undefined : body);
  });
}
