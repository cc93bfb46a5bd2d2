/** Plain HTTP/2: events, what a supervisor learns of the node, and how both are switched off. */
import { describe, expect, it } from '@jest/globals';
import { until } from '../nest/nest-fixture.js';
import { bench, call, containing, curl, JSON_TYPE, refusal, running, seen, urlOf } from './unary-fixture.js';

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
