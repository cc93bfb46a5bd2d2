/** Plain HTTP/2: errors are JSON that a person can read, in the statuses that fit. */
import { describe, expect, it } from '@jest/globals';
import { constants } from 'node:http2';
import { NO_MESSAGE_HANDLER } from '@nestjs/microservices/constants.js';
import { MeshExceptionFilter } from '../../lib/index.js';
import { DEFAULT_WIRE_LIMITS } from '../../lib/protocol/limits.js';
import {
  ask,
  call,
  containing,
  curl,
  headersOf,
  JSON_TYPE,
  refusal,
  running,
  session,
  type Answer,
} from './unary-fixture.js';

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

  it('has the status of the HttpException, when MeshExceptionFilter carries it', async () => {
    const { url } = await running({}, new MeshExceptionFilter());
    await expect(call(url, 'fail', 'gone')).resolves.toEqual({
      status: 410,
      body: {
        error: {
          code: 'NOT_FOUND',
          message: 'sold out',
          details: { httpStatus: 410, response: { statusCode: 410, message: 'sold out', error: 'Gone' } },
        },
      },
    });
    await expect(call(url, 'fail', 'moved')).resolves.toMatchObject({ status: 400 });
  });

  it('names the paths and the methods that there are', async () => {
    const { url } = await running();
    for (const path of ['/', '/rpc', '/nowhere'])
      await expect(curl(url + path, ...JSON_TYPE, '-d', '[1]')).resolves.toEqual({
        status: 404,
        body: refusal('NOT_FOUND', containing('/rpc/{route}, /events/{route}, /health and /ready')),
      });
    await expect(headersOf(`${url}/nowhere`)).resolves.toContain('HTTP/2 404');
    const headers = await headersOf(`${url}/rpc/null`);
    expect(headers).toContain('HTTP/2 405');
    expect(headers).toContain('allow: POST');
  });

  it('reaches a caller that is still sending its body', async () => {
    const { url } = await running();
    // Slow enough that the answer is there long before the end of the body.
    const body = [...JSON_TYPE, '--limit-rate', '2M', '-X', 'POST', '-d', 'x'.repeat(100_000)];
    await expect(curl(`${url}/nowhere`, ...body)).resolves.toMatchObject({ status: 404 });
    await expect(curl(`${url}/rpc/%zz`, ...body)).resolves.toMatchObject({ status: 400 });
    await expect(curl(`${url}/channel`, ...body)).resolves.toMatchObject({ status: 400 });
  });

  it('names what is wrong with the request', async () => {
    const { url } = await running();
    const cases: [Promise<Answer>, number, string, string][] = [
      [curl(`${url}/rpc/orders.total`, ...JSON_TYPE, '-d', '{'), 400, 'INVALID_ARGUMENT', 'not JSON'],
      [
        curl(`${url}/rpc/orders.total`, '-d', '[1]'),
        415,
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
      [curl(`${url}/rpc/null`), 405, 'UNIMPLEMENTED', '/rpc takes POST, not GET'],
      [curl(`${url}/health`, '-X', 'POST'), 405, 'UNIMPLEMENTED', '/health takes GET or HEAD, not POST'],
    ];
    for (const [answer, status, code, message] of cases)
      await expect(answer).resolves.toEqual({ status, body: refusal(code, containing(message)) });
  });

  it('names limits.maxFrameBytes for a body that is too large, declared or not, and for such an answer or error', async () => {
    const { url } = await running({ limits: { ...DEFAULT_WIRE_LIMITS, maxFrameBytes: 4_096 } });
    const body = refusal('RESOURCE_EXHAUSTED', containing('limits.maxFrameBytes (4096)'));
    const tooLarge = { status: 413, body };
    const http2 = session(url);
    const path = { ':path': '/rpc/type%20of%20data' };
    await expect(ask(http2, { ...path, 'content-length': '5000' }, Buffer.alloc(1))).resolves.toEqual(
      tooLarge,
    );
    await expect(ask(http2, path, Buffer.alloc(5_000, ' '))).resolves.toEqual(tooLarge);
    await expect(call(url, 'large', 5_000)).resolves.toEqual({ status: 500, body });
    await expect(call(url, 'fail', 'large')).resolves.toEqual({ status: 500, body });
    await expect(call(url, 'type of data', 'x'.repeat(4_000))).resolves.toEqual({
      status: 200,
      body: 'string',
    });
    await expect(call(url, 'large', 4_000)).resolves.toMatchObject({ status: 200 });
  });

  it('ends a body that stands still', async () => {
    const { url } = await running({ limits: { incompleteFrameTimeoutMs: 100 } });
    await expect(ask(session(url), { ':path': '/rpc/null' }, Buffer.from('['))).resolves.toEqual({
      status: 408,
      body: refusal('DEADLINE_EXCEEDED', containing('limits.incompleteFrameTimeoutMs')),
    });
  });

  it('ends an answer that nobody reads, and harms no other call of the connection', async () => {
    const { url } = await running({ limits: { incompleteFrameTimeoutMs: 100 } });
    const http2 = session(url, { initialWindowSize: 1_000 });
    const stream = http2.request({ ':method': 'POST', ':path': '/rpc/large' });
    const closed = new Promise((resolve) => stream.once('close', () => resolve(stream.rstCode)));
    stream.on('error', () => undefined).end('5000');
    await expect(closed).resolves.toBe(constants.NGHTTP2_CANCEL);
    await expect(ask(http2, { ':path': '/rpc/null' })).resolves.toMatchObject({
      status: 200,
    });
  });

  it('comes at once when a handler wants to call back a caller who has no name', async () => {
    const { url } = await running();
    await expect(call(url, 'call back')).resolves.toMatchObject({ status: 500 });
  });

  it('says why such a caller cannot be called back, behind MeshExceptionFilter', async () => {
    const { url } = await running({}, new MeshExceptionFilter());
    const { status, body } = await call(url, 'call back');
    expect(status).toBe(400);
    expect(body).toMatchObject({
      error: {
        code: 'FAILED_PRECONDITION',
        message: expect.stringMatching(/cannot be called back.*x-service-name/),
      },
    });
  });
});
