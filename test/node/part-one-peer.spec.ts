/** A peer that knows part 1 of the protocol only never notices part 2, whichever side dialled. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { eventually, pause } from '../support/eventually.js';
import {
  callOf,
  failureOf,
  handlersOf,
  Mesh,
  recordOf,
  StaticRegistry,
  type Answers,
} from '../support/mesh-fixture.js';
import { RawClient, RawServer, type RawStream } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

/** The words of packets in part 1: everything else is part 2. */
const PART_1_WORDS = new Set([
  'id',
  'pattern',
  'data',
  'response',
  'err',
  'isDisposed',
  'metadata',
  'status',
]);

function expectPart1Only(stream: RawStream): void {
  for (const packet of stream.received) {
    for (const word of Object.keys(packet as object)) expect(PART_1_WORDS).toContain(word);
  }
}

async function dialling(answers: Answers): Promise<{ node: MeshNode; peer: RawStream }> {
  const node = await mesh.serve('orders', answers);
  const client = mesh.keep(await RawClient.dial(node.record.port));
  return { node, peer: await client.channel({ 'x-session-id': 'abc', 'x-tenant': 'blue' }) };
}

async function dialled(answers: Answers = {}): Promise<{ caller: MeshNode; server: RawServer }> {
  const server = mesh.keep(await RawServer.start());
  const registry = new StaticRegistry(recordOf('python-peer', server.port));
  const caller = mesh.node({ registry });
  caller.setHandlers(handlersOf(answers));
  return { caller, server };
}

function pump(channel: RawChannel, into: unknown[]): void {
  void (async () => {
    for await (const value of channel) into.push(value);
  })().catch((error: unknown) => into.push(error));
}

describe('A part 1 peer that dials', () => {
  it('gets the channel at once, and nothing of part 2 in the answer', async () => {
    const { peer } = await dialling({});
    expect(peer.headers[':status']).toBe(200);
    expect(Object.keys(peer.headers).filter((name) => name.startsWith('x-mesh'))).toEqual([]);
  });

  it('has the default raw handler before it says anything: that may speak first', async () => {
    const openings: unknown[] = [];
    const { peer } = await dialling({
      channels: {
        '': (channel, opening) => {
          openings.push(opening);
          void channel.send('hello from the mesh');
        },
      },
    });
    await eventually('the first word', () => peer.received.length === 1);
    expect(peer.received).toEqual(['hello from the mesh']);
    expect(openings).toMatchObject([
      {
        name: undefined,
        sessionId: 'abc',
        metadata: { 'x-tenant': 'blue' },
        peer: { service: 'raw-peer', nodeId: undefined, plain: true },
      },
    ]);
  });

  it('talks to the raw handler and calls handlers on the same channel', async () => {
    const values: unknown[] = [];
    const events: unknown[] = [];
    const { peer } = await dialling({
      calls: { double: (n: number) => n * 2 },
      event: ({ pattern, data }) => events.push([pattern, data]),
      channels: { '': (channel) => pump(channel, values) },
    });
    peer.send(
      'raw one',
      { pattern: 'noted', data: 1 },
      { id: 'a', pattern: 'double', data: 21 },
      { raw: 'two' },
    );
    expect(await peer.answer('a')).toEqual({ id: 'a', response: 42, isDisposed: true });
    await eventually('all have come', () => values.length === 2 && events.length === 1);
    expect(values).toEqual(['raw one', { raw: 'two' }]);
    expect(events).toEqual([['noted', 1]]);
    expectPart1Only(peer);
  });

  it.each([
    { id: 7, open: 'door' },
    { id: 7, open: 'door', err: 'stuck', isDisposed: true },
    { open: 'door', headers: {} },
    { drain: true },
    { id: 7, cancel: true },
    { id: 'never made', response: 1 },
  ])('has its own value %j where that looks like a packet, and goes on being called', async (value) => {
    const values: unknown[] = [];
    const { peer } = await dialling({
      calls: { double: (n: number) => n * 2 },
      channels: { '': (channel) => pump(channel, values) },
    });
    peer.send(value, { id: 7, pattern: 'double', data: 21 }, 'and on');
    expect(await peer.answer(7)).toMatchObject({ response: 42 });
    await eventually('all have come', () => values.length === 2);
    expect(values).toEqual([value, 'and on']);
    expect(mesh.warnings).toEqual([]);
  });

  it('ends the raw channel by ending its half, and still gets what is sent back', async () => {
    const values: unknown[] = [];
    const { peer } = await dialling({
      channels: {
        '': (channel) =>
          void (async () => {
            for await (const value of channel) values.push(value);
            await channel.send({ got: values.length });
            channel.end();
          })(),
      },
    });
    peer.send(1, 2, 3);
    peer.stream.end();
    await eventually('the end has come', () => peer.ended);
    expect(peer.received).toEqual([{ got: 3 }]);
  });

  it('gets the answers to open calls although it has ended its half', async () => {
    const open: InboundCall[] = [];
    const { peer } = await dialling({
      calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) },
    });
    peer.send({ id: 1, pattern: 'wait' });
    peer.stream.end();
    await eventually('the handler runs', () => open.length === 1);
    await pause(30); // The end of the half has come by now.
    open[0]?.respond('late');
    expect(await peer.answer(1)).toMatchObject({ response: 'late' });
    await eventually('the channel ends', () => peer.ended);
  });

  it('is told nothing but the end when the node shuts down', async () => {
    const values: unknown[] = [];
    const { node, peer } = await dialling({ channels: { '': (channel) => pump(channel, values) } });
    peer.send('before');
    await eventually('it has come', () => values.length === 1);
    await node.close();
    await eventually('the channel ends', () => peer.closed);
    expect(peer.received).toEqual([]);
    expect(peer.ended).toBe(true);
  });
});

describe('A part 1 peer that is dialled', () => {
  it('gets a request without time limit, with the pattern as the user gave it, and no cancel', async () => {
    const { caller, server } = await dialled();
    const pattern = { cmd: 'sum' };
    const failing = failureOf(
      new Promise((_, reject) => {
        const request = {
          pattern,
          route: '{"cmd":"sum"}',
          data: [1, 2],
          metadata: undefined,
          timeoutMs: 120,
        };
        caller.request({ service: 'python-peer' }, request, { onPacket: () => undefined, onFailure: reject });
      }),
    );
    const peer = await server.stream();
    await eventually('the request has come', () => peer.received.length === 1);
    expect(peer.received).toEqual([{ id: expect.any(Number), pattern, data: [1, 2] }]);
    expect(await failing).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await caller.close();
    await eventually('the channel ends', () => peer.ended || peer.closed);
    expect(peer.received).toHaveLength(1);
  });

  it('answers with values and errors', async () => {
    const { caller, server } = await dialled();
    const target = { service: 'python-peer' };
    const good = callOf(caller, target, 'good');
    const bad = callOf(caller, target, 'bad');
    const peer = await server.stream();
    const one = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'good');
    const two = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'bad');
    peer.send(
      { id: two.id, err: 'no', isDisposed: true },
      { id: one.id, response: 5 },
      { id: one.id, isDisposed: true },
    );
    expect(await good).toBe(5);
    await expect(bad).rejects.toBe('no');
    expectPart1Only(peer);
  });

  it('has the default raw handler of the caller at once, which may speak first', async () => {
    const values: unknown[] = [];
    const { caller, server } = await dialled({
      channels: {
        '': (channel) => {
          void channel.send('hello');
          pump(channel, values);
        },
      },
    });
    await caller.emit(
      { service: 'python-peer' },
      { pattern: 'noted', route: 'noted', data: 1, metadata: undefined, timeoutMs: 1_000 },
    );
    const peer = await server.stream();
    await eventually('both have come', () => peer.received.length === 2);
    expect(peer.received).toEqual(expect.arrayContaining(['hello', { pattern: 'noted', data: 1 }]));
    peer.send('and hello');
    await eventually('it has come', () => values.length === 1);
  });
});

describe('A peer of the mesh', () => {
  it('says who it is in both directions, and gets drain', async () => {
    const node = await mesh.serve('orders');
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const peer = await client.channel({ 'x-mesh-node-id': randomUUID(), 'x-mesh-version': '1' });
    expect(peer.headers).toMatchObject({
      'x-service-name': 'orders',
      'x-mesh-node-id': node.id,
      'x-mesh-version': '1',
    });
    const closing = node.close();
    await peer.next((packet) => packet['drain'] === true);
    peer.stream.end();
    await closing;
  });
});
