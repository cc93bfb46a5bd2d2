/** Plain HTTP/2: `curl` calls the handlers of a Nest service. */
import { describe, expect, it } from '@jest/globals';
import { constants } from 'node:http2';
import { until } from '../nest/nest-fixture.js';
import {
  ask,
  call,
  containing,
  curl,
  JSON_TYPE,
  refusal,
  release,
  running,
  seen,
  session,
} from './unary-fixture.js';

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
