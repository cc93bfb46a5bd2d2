/** Peers that break the rules, dialling and dialled: the fault is named, and harms nothing but what it belongs to. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, Mesh, recordOf, StaticRegistry, type Answers } from '../support/mesh-fixture.js';
import { frame, meshHeaders, prefix, RawClient, RawServer, type RawStream } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const ANSWERS: Answers = { calls: { double: (n: number) => n * 2 } };
const ORDERS = { service: 'orders' };

/** A node, and a peer of bare HTTP/2 that has opened a packet channel to it. */
async function dialling(answers: Answers = ANSWERS, options: Partial<MeshOptions> = {}): Promise<RawStream> {
  const node = await mesh.serve('orders', answers, options);
  const client = mesh.keep(await RawClient.dial(node.record.port));
  return client.channel(meshHeaders(randomUUID()));
}

interface Dialled {
  readonly caller: MeshNode;
  readonly server: RawServer;
  readonly nodeId: string;
}

/** A node that calls, and a peer of bare HTTP/2 which the registry lists as the service `orders`. */
async function dialled(
  onStream?: Parameters<typeof RawServer.start>[0],
  options: Partial<MeshOptions> = {},
): Promise<Dialled> {
  const nodeId = randomUUID();
  const server = mesh.keep(
    await RawServer.start(onStream ?? ((_, raw) => raw.respond({ ':status': 200, ...meshHeaders(nodeId) }))),
  );
  const caller = mesh.node({
    registry: new StaticRegistry(recordOf('orders', server.port, nodeId)),
    ...options,
  });
  return { caller, server, nodeId };
}

/** The channel answers a call: nothing has harmed it. */
async function expectAlive(peer: RawStream): Promise<void> {
  const id = randomUUID();
  peer.send({ id, pattern: 'double', data: 4 });
  expect(await peer.answer(id)).toMatchObject({ response: 8 });
}

describe('What a peer that dialled sends', () => {
  it('as a request over the limit is refused by name, and the channel lives on', async () => {
    const peer = await dialling(ANSWERS, { limits: { maxFrameBytes: 1_000 } });
    peer.send({ id: 1, pattern: 'double', data: 'x'.repeat(5_000) });
    expect(await peer.answer(1)).toMatchObject({
      err: {
        status: 'error',
        code: 'RESOURCE_EXHAUSTED',
        delivery: 'refused',
        message: expect.stringContaining('limits.maxFrameBytes (1000)'),
        details: { maxFrameBytes: 1_000 },
      },
    });
    await expectAlive(peer);
  });

  it('with its length prefix and body over many DATA frames is read as one', async () => {
    const peer = await dialling();
    for (const byte of frame({ id: 'slow', pattern: 'double', data: 3 })) {
      peer.write(Buffer.of(byte));
      await pause(0); // Each byte in a DATA frame of its own.
    }
    expect(await peer.answer('slow')).toMatchObject({ response: 6 });
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['a frame of no bytes', prefix(0), /an empty payload is not JSON; it is ignored/],
    ['bytes that are not UTF-8', frame(Buffer.from([0x22, 0xff, 0xfe, 0x22])), /is not UTF-8; it is ignored/],
    ['text that is not JSON', frame(Buffer.from('{"id":1')), /is not JSON; it is ignored/],
    [
      'JSON that is no packet',
      frame({ hello: 'world' }),
      /no packet, and there is no default raw handler; it is ignored/,
    ],
    [
      'an answer to a call that was never made',
      frame({ id: 77, response: 1, isDisposed: true }),
      /a call that was never made: id 77/,
    ],
  ])('as %s is ignored with one warning, and the channel lives on', async (_, bytes, warning) => {
    const peer = await dialling();
    for (let times = 0; times < 3; times += 1) peer.write(bytes);
    await expectAlive(peer);
    expect(mesh.warnings).toEqual([expect.stringMatching(warning)]);
    expect(mesh.warnings[0]).toContain('the channel from raw-peer (127.0.0.1:');
  });

  it.each([
    ['an id that is an object', { id: {}, pattern: 'double', data: 1 }],
    ['an id that is too long', { id: 'x'.repeat(300), pattern: 'double', data: 1 }],
    ['a pattern that is a boolean', { id: 5, pattern: true, data: 1 }],
    ['an array', [1, 2]],
    ['null', null],
  ])('with %s is no packet', async (_, value) => {
    const peer = await dialling();
    peer.send(value);
    await expectAlive(peer);
    expect(mesh.warnings).toHaveLength(1);
  });

  it('as JSON that is no packet goes to the default raw handler where there is one', async () => {
    const values: unknown[] = [];
    const peer = await dialling({
      ...ANSWERS,
      channels: {
        '': (channel) =>
          void (async () => {
            for await (const value of channel) values.push(value);
          })().catch(() => undefined),
      },
    });
    peer.send({ hello: 'world' }, 5, [null]);
    await expectAlive(peer);
    await eventually('they have come', () => values.length === 3);
    expect(values).toEqual([{ hello: 'world' }, 5, [null]]);
    expect(mesh.warnings).toEqual([]);
  });

  it('with `__proto__` in it pollutes nothing', async () => {
    const seen: InboundCall[] = [];
    const peer = await dialling({
      calls: {
        look: (data: unknown, call: InboundCall) => {
          seen.push(call);
          return JSON.stringify(data);
        },
      },
    });
    const text =
      '{"__proto__":{"polluted":1},"id":1,"pattern":"look","data":{"__proto__":{"polluted":1}},"metadata":{"__proto__":"x","a":"b"}}';
    peer.write(frame(Buffer.from(text)));
    expect(await peer.answer(1)).toMatchObject({ response: '{"__proto__":{"polluted":1}}' });
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(seen[0]?.metadata).toEqual({ a: 'b' });
  });

  it('nested 100,000 deep reaches the handler, or is answered, and the channel lives on', async () => {
    const peer = await dialling({
      calls: { ...ANSWERS.calls, isArray: (data: unknown) => Array.isArray(data) },
    });
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    peer.write(frame(Buffer.from(`{"id":1,"pattern":"isArray","data":${deep}}`)));
    expect(await peer.answer(1)).toMatchObject({ response: true });
    await expectAlive(peer);
  });

  it('under an id that is still open is ignored with one warning: the first call keeps its answer', async () => {
    const open: InboundCall[] = [];
    const peer = await dialling({
      calls: { ...ANSWERS.calls, wait: (_: unknown, call: InboundCall) => void open.push(call) },
    });
    peer.send({ id: 1, pattern: 'wait' }, { id: 1, pattern: 'double', data: 5 });
    await expectAlive(peer);
    expect(mesh.warnings).toEqual([
      expect.stringContaining('used the id 1 twice at a time; the second request is ignored'),
    ]);
    open[0]?.respond('first');
    expect(await peer.answer(1)).toMatchObject({ response: 'first' });
    // And once it is answered the id is free again.
    peer.received.length = 0;
    peer.send({ id: 1, pattern: 'double', data: 5 });
    expect(await peer.answer(1)).toMatchObject({ response: 10 });
  });

  it('with ids `1` and "1" is two calls', async () => {
    const peer = await dialling();
    peer.send({ id: 1, pattern: 'double', data: 1 }, { id: '1', pattern: 'double', data: 2 });
    expect(await peer.answer(1)).toMatchObject({ response: 2 });
    expect(await peer.answer('1')).toMatchObject({ response: 4 });
  });

  it('beyond limits.maxOpenCalls is refused by name, and the others are answered', async () => {
    const open: InboundCall[] = [];
    const peer = await dialling(
      { calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) } },
      { limits: { maxOpenCalls: 2 } },
    );
    peer.send({ id: 1, pattern: 'wait' }, { id: 2, pattern: 'wait' }, { id: 3, pattern: 'wait' });
    expect(await peer.answer(3)).toMatchObject({
      err: {
        code: 'RESOURCE_EXHAUSTED',
        delivery: 'refused',
        message: expect.stringContaining('limits.maxOpenCalls (2)'),
        details: { retryAfterMs: 50 },
      },
    });
    for (const call of open) call.respond('done');
    await peer.answer(1);
    await peer.answer(2);
  });

  it('with a time limit that is over already is not begun', async () => {
    const peer = await dialling();
    peer.send({ id: 1, pattern: 'double', data: 1, timeout: 0 });
    expect(await peer.answer(1)).toMatchObject({ err: { code: 'DEADLINE_EXCEEDED', delivery: 'refused' } });
    peer.send({ id: 2, pattern: 'double', data: 1, timeout: 'soon' });
    expect(await peer.answer(2)).toMatchObject({ response: 2 });
  });

  it('as an event that wants an acknowledgement is acknowledged', async () => {
    const events: unknown[] = [];
    const peer = await dialling({ ...ANSWERS, event: ({ data }) => events.push(data) });
    peer.send({ id: 9, event: true, pattern: 'noted', data: 5 });
    expect(await peer.answer(9)).toEqual({ id: 9, isDisposed: true });
    expect(events).toEqual([5]);
  });

  it('cut short by the end of its half is a loss of that channel alone', async () => {
    const node = await mesh.serve('orders', ANSWERS);
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const one = await client.channel(meshHeaders(randomUUID()));
    const other = await client.channel(meshHeaders(randomUUID()));
    one.stream.end(prefix(50));
    await eventually('the channel is reset', () => one.closed);
    expect(one.stream.rstCode).not.toBe(0);
    await expectAlive(other);
  });

  it('as a half frame that stands still costs it the channel, which an idle peer keeps', async () => {
    const limits = { incompleteFrameTimeoutMs: 80 };
    const node = await mesh.serve('orders', ANSWERS, { limits });
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const idle = await client.channel(meshHeaders(randomUUID()));
    const half = await client.channel(meshHeaders(randomUUID()));
    half.write(frame({ id: 1, pattern: 'double', data: 1 }).subarray(0, 10));
    await eventually('the half one is reset', () => half.closed);
    await expectAlive(idle);
  });

  it('in a request that it cancels reaches nobody any more', async () => {
    const open: InboundCall[] = [];
    const peer = await dialling({
      calls: { ...ANSWERS.calls, wait: (_: unknown, call: InboundCall) => void open.push(call) },
    });
    peer.send({ id: 1, pattern: 'wait' });
    await eventually('the handler runs', () => open.length === 1);
    peer.send({ id: 1, cancel: true }, { id: 99, cancel: true });
    await expectAlive(peer);
    expect(open[0]?.signal.aborted).toBe(true);
    open[0]?.respond('too late');
    await expectAlive(peer);
    expect(peer.received.filter((packet) => (packet as { id?: unknown }).id === 1)).toEqual([]);
  });
});

describe('What a peer that was dialled sends', () => {
  it('as an answer over the limit fails that one call', async () => {
    const { caller, server } = await dialled(undefined, { limits: { maxFrameBytes: 1_000 } });
    const large = failureOf(callOf(caller, ORDERS, 'large'));
    const small = callOf(caller, ORDERS, 'small');
    const peer = await server.stream();
    const { id } = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'large');
    const next = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'small');
    peer.send(
      { id, response: 'x'.repeat(3_000), isDisposed: true },
      { id: next.id, response: 'fine', isDisposed: true },
    );
    expect(await large).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'unknown', pattern: 'large' });
    expect((await large).rawMessage).toContain('limits.maxFrameBytes (1000)');
    expect(await small).toBe('fine');
  });

  it('under an id that was never given is ignored with one warning; late answers are ignored in silence', async () => {
    const { caller, server } = await dialled();
    await failureOf(callOf(caller, ORDERS, 'slow', 1, { timeoutMs: 60 }));
    const peer = await server.stream();
    const { id } = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'slow');
    peer.send({ id, response: 'late', isDisposed: true });
    peer.send({ id: 4_000, response: 1 }, { id: 'x', response: 1 }, { id: -1, isDisposed: true });
    const next = callOf(caller, ORDERS, 'next');
    const request = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'next');
    peer.send({ id: request.id, response: 'fine', isDisposed: true });
    expect(await next).toBe('fine');
    expect(mesh.warnings).toEqual([expect.stringContaining('answered a call that was never made: id 4000')]);
  });

  it('after the end of a call changes nothing any more', async () => {
    const { caller, server } = await dialled();
    const calling = callOf(caller, ORDERS, 'once');
    const peer = await server.stream();
    const { id } = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'once');
    peer.send(
      { id, response: 'one', isDisposed: true },
      { id, response: 'two', isDisposed: true },
      { id, err: 'three' },
    );
    expect(await calling).toBe('one');
  });

  it('as the end of its half fails the calls that are open, at once', async () => {
    const { caller, server } = await dialled();
    const calling = failureOf(callOf(caller, ORDERS, 'once'));
    const peer = await server.stream();
    await peer.next((packet) => packet['pattern'] === 'once');
    peer.stream.end();
    expect(await within(calling, 1_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
  });

  it('as framing that cannot be trusted ends the channel, and the next call opens another one', async () => {
    const { caller, server } = await dialled();
    const calling = failureOf(callOf(caller, ORDERS, 'once'));
    const peer = await server.stream();
    peer.write(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'));
    expect(await calling).toMatchObject({ code: 'UNAVAILABLE' });
    const next = callOf(caller, ORDERS, 'next');
    const second = await server.stream(1);
    const { id } = await second.next<{ id: number }>((packet) => packet['pattern'] === 'next');
    second.send({ id, response: 'fine', isDisposed: true });
    expect(await next).toBe('fine');
  });
});

describe('A peer that does not open', () => {
  it.each<[number, string]>([
    [404, 'UNIMPLEMENTED'],
    [401, 'UNAUTHENTICATED'],
  ])('because it answers %i to /channel fails the call at once, and says so', async (status, code) => {
    const { caller } = await dialled((_, raw) => {
      raw.respond({ ':status': status });
      raw.end('not here');
    });
    const error = await within(failureOf(callOf(caller, ORDERS, 'any', 1, { timeoutMs: 20_000 })), 2_000);
    expect(error).toMatchObject({ code, delivery: 'refused', service: 'orders', pattern: 'any' });
    expect(error.rawMessage).toContain(`answered /channel with status ${status}: not here`);
  });

  it('because it answers 500 is tried again within the time of the call', async () => {
    let answers = 0;
    const { caller, server } = await dialled((_, raw) => {
      answers += 1;
      raw.respond({ ':status': answers < 3 ? 500 : 200, ...meshHeaders(randomUUID()) });
      if (answers < 3) raw.end();
    });
    const error = await failureOf(callOf(caller, ORDERS, 'any', 1, { timeoutMs: 200 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(server.streams.length).toBeGreaterThan(1);
  });

  it('because it never answers /channel fails with what was waited for', async () => {
    const { caller } = await dialled(() => undefined, { connectTimeoutMs: 50 });
    const error = await failureOf(callOf(caller, ORDERS, 'any', 1, { timeoutMs: 300 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain('did not answer /channel within 50 ms (connectTimeoutMs)');
  });

  it('because its address belongs to another node by now is not called, and the error says who is there', async () => {
    const other = randomUUID();
    const { caller, server, nodeId } = await dialled((_, raw) =>
      raw.respond({ ':status': 200, ...meshHeaders(other) }),
    );
    const error = await failureOf(callOf(caller, ORDERS, 'any', 1, { timeoutMs: 200 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain(`127.0.0.1:${server.port} is now node ${other}, not ${nodeId}`);
    const channel = { name: 'x', metadata: undefined, sessionId: undefined, timeoutMs: 200 };
    expect((await failureOf(caller.openChannel(ORDERS, channel))).rawMessage).toContain(
      `is now node ${other}`,
    );
    // Nothing was sent to the wrong one.
    expect(server.streams.every((stream) => stream.bytes.length === 0)).toBe(true);
  });
});
