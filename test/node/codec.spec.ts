/** Which codec a channel speaks: what the side that opens it offers, if the other side knows it. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { MSGPACK_CODEC } from '../../lib/protocol/msgpack-codec.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { eventually } from '../support/eventually.js';
import {
  callOf,
  failureOf,
  handlersOf,
  Mesh,
  recordOf,
  StaticRegistry,
  type Answers,
  type Origin,
} from '../support/mesh-fixture.js';
import { frame, meshHeaders, prefix, RawClient, RawServer, type RawStream } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const NODE_ID = '3f0c6b52-8f0e-4f6b-9d53-1f1f6a2d7c11';
const OFFER = { ...meshHeaders(NODE_ID), 'x-mesh-codec': 'msgpack' };

/** Bytes that JSON cannot say, so that it shows which codec carried them. */
const BYTES = Buffer.from([0, 255, 128]);

const packed = (value: unknown): Buffer => Buffer.from(MSGPACK_CODEC.encode(value));

async function echoing(channel: RawChannel): Promise<void> {
  for await (const value of channel) await channel.send(value);
  channel.end();
}

/** Calls the caller back in every way there is, and tells what came back. */
async function callBack(node: MeshNode, origin: Origin): Promise<unknown[]> {
  const { channel } = origin;
  if (channel === undefined) throw new Error('there is no channel to call back on');
  return everyWay(node, { channel });
}

/** The bytes over a call, a call stream, a raw channel. */
async function everyWay(node: MeshNode, target: Parameters<MeshNode['openCall']>[0]): Promise<unknown[]> {
  const call = await callOf(node, target, 'echo', BYTES);
  const stream = await node.openCall(target, {
    route: 'echo',
    input: { data: BYTES },
    metadata: undefined,
    timeoutMs: 5_000,
  });
  const { value: streamed } = await stream.next();
  await stream.next();
  const request = { name: 'echo', metadata: undefined, sessionId: undefined, timeoutMs: 5_000 };
  const { channel } = await node.openChannel(target, request);
  await channel.send(BYTES);
  const { value: raw } = await channel.next();
  channel.end();
  await channel.whenClosed;
  return [call, streamed, raw];
}

const ANSWERS: Answers = {
  calls: { echo: (data: unknown) => data },
  channels: { echo: (channel) => void echoing(channel).catch(() => undefined) },
};
const JSON_BYTES = JSON.parse(JSON.stringify(BYTES)) as unknown;

describe('A node that offers MessagePack', () => {
  it('speaks it on packet channels, call streams and raw channels that it opens', async () => {
    await mesh.serve('orders', ANSWERS);
    const caller = mesh.node({ codec: 'msgpack' });
    const [call, stream, raw] = await everyWay(caller, { service: 'orders' });
    expect([call, stream, raw]).toEqual([BYTES, BYTES, BYTES]);
    expect([call, stream, raw].every((value) => Buffer.isBuffer(value))).toBe(true);
  });

  it('speaks it on streams that the other side opens for it', async () => {
    let called: unknown[] = [];
    const served: MeshNode = await mesh.serve(
      'orders',
      {
        calls: {
          'call-back': async (_data: unknown, _call, origin) => {
            called = await callBack(served, origin);
            return 'done';
          },
        },
      },
      { codec: 'msgpack' },
    );
    const caller = mesh.node();
    caller.setHandlers(handlersOf(ANSWERS));
    await expect(callOf(caller, { service: 'orders' }, 'call-back')).resolves.toBe('done');
    // The packet channel was opened by the caller, who offered nothing: it stays with JSON.
    expect(called).toEqual([JSON_BYTES, BYTES, BYTES]);
  });

  it('is answered over the channel that it opened, also when the other side calls', async () => {
    const served: MeshNode = await mesh.serve('orders', {
      calls: { 'call-back': (_data: unknown, _call, origin) => callBack(served, origin) },
    });
    const caller = mesh.node({ codec: 'msgpack' });
    caller.setHandlers(handlersOf(ANSWERS));
    // The streams are opened by the other side, which offers nothing.
    await expect(callOf(caller, { service: 'orders' }, 'call-back')).resolves.toEqual([
      BYTES,
      JSON_BYTES,
      JSON_BYTES,
    ]);
  });

  it('gets JSON from a peer that says nothing of it', async () => {
    const server = mesh.keep(
      await RawServer.start((_, raw) => raw.respond({ ':status': 200, ...meshHeaders(NODE_ID) })),
    );
    const caller = mesh.node({
      codec: 'msgpack',
      registry: new StaticRegistry(recordOf('orders', server.port, NODE_ID)),
    });
    const answer = callOf(caller, { service: 'orders' }, 'echo', { a: 1 });
    const stream = await server.stream();
    expect(stream.headers['x-mesh-codec']).toBe('msgpack');
    const { id } = await stream.next<{ id: number }>(({ pattern }) => pattern === 'echo');
    stream.send({ id, response: 'json', isDisposed: true });
    await expect(answer).resolves.toBe('json');
    server.breakSessions();
  });

  it('gets JSON from a part 1 peer, which is sent nothing else', async () => {
    const server = mesh.keep(await RawServer.start());
    const caller = mesh.node({
      codec: 'msgpack',
      registry: new StaticRegistry(recordOf('orders', server.port)),
    });
    const answer = callOf(caller, { service: 'orders' }, 'echo', { a: 1 });
    const stream = await server.stream();
    const { id } = await stream.next<{ id: number }>(({ pattern }) => pattern === 'echo');
    stream.send({ id, response: 'json', isDisposed: true });
    await expect(answer).resolves.toBe('json');
    server.breakSessions();
  });

  it('refuses a peer that answers in a codec which it was not offered', async () => {
    const server = mesh.keep(
      await RawServer.start((_, raw) =>
        raw.respond({ ':status': 200, ...meshHeaders(NODE_ID), 'x-mesh-codec': 'cbor' }),
      ),
    );
    const caller = mesh.node({
      codec: 'msgpack',
      registry: new StaticRegistry(recordOf('orders', server.port, NODE_ID)),
    });
    const error = await failureOf(callOf(caller, { service: 'orders' }, 'echo'));
    expect(error.message).toContain(`the codec "cbor", and was offered 'msgpack'`);
    await eventually('the stream is reset', () => server.streams[0]?.closed);
  });
});

describe('A node that is offered a codec', () => {
  const serve = (answers: Answers = ANSWERS) => mesh.serve('orders', answers);
  const open = async (
    node: MeshNode,
    headers: Record<string, string>,
  ): Promise<{ stream: RawStream; bytes: () => Buffer }> => {
    const client = mesh.keep(await RawClient.dial(node.record.port));
    // Its payloads are no JSON, so they are read here.
    const stream = await client.channel(headers, false);
    const chunks: Buffer[] = [];
    stream.stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    return { stream, bytes: () => Buffer.concat(chunks) };
  };

  it('takes MessagePack, says so, and speaks it in both directions', async () => {
    const { stream, bytes } = await open(await serve(), OFFER);
    expect(stream.headers['x-mesh-codec']).toBe('msgpack');
    stream.write(frame(packed({ id: 1, pattern: 'echo', data: BYTES })));
    const expected = frame(packed({ id: 1, response: BYTES, isDisposed: true }));
    await eventually('the answer', () => bytes().length >= expected.length);
    expect(bytes().toString('hex')).toBe(expected.toString('hex'));
  });

  it.each([{ 'x-mesh-codec': 'cbor' }, { 'x-mesh-codec': '__proto__' }, { 'x-mesh-codec': '' }])(
    'stays with JSON when it does not know it: %j',
    async (headers) => {
      const node = await serve();
      const client = mesh.keep(await RawClient.dial(node.record.port));
      const stream = await client.channel({ ...meshHeaders(NODE_ID), ...headers });
      expect(stream.headers['x-mesh-codec']).toBeUndefined();
      stream.send({ id: 1, pattern: 'echo', data: 'json' });
      await expect(stream.answer(1)).resolves.toMatchObject({ response: 'json' });
    },
  );

  it('stays with JSON for a part 1 peer, whatever its headers say', async () => {
    const node = await serve();
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const stream = await client.channel({ 'x-mesh-codec': 'msgpack' });
    expect(stream.headers['x-mesh-codec']).toBeUndefined();
    stream.send({ id: 1, pattern: 'echo', data: 'json' });
    await expect(stream.answer(1)).resolves.toMatchObject({ response: 'json' });
  });

  it('fails only the call of a message that is too large, which its first bytes name', async () => {
    const node = await mesh.serve('orders', ANSWERS, { limits: { maxFrameBytes: 1_000 } });
    const { stream, bytes } = await open(node, OFFER);
    stream.write(frame(packed({ id: 1, pattern: 'echo', data: 'x'.repeat(2_000) })));
    stream.write(frame(packed({ id: 2, pattern: 'echo', data: 'small' })));
    await eventually('both answers', () => bytes().includes('small'));
    const refused = MSGPACK_CODEC.decode(bytes().subarray(4, 4 + bytes().readUInt32BE()));
    expect(refused).toMatchObject({ id: 1, err: { code: 'RESOURCE_EXHAUSTED', delivery: 'refused' } });
    expect(stream.closed).toBe(false);
  });

  it('fails the call of a payload that is no MessagePack, and goes on', async () => {
    const { stream, bytes } = await open(await serve(), OFFER);
    stream.write(frame(Buffer.concat([packed({ id: 1, pattern: 'echo', data: 1 }), Buffer.from([0xc1])])));
    stream.write(frame(packed({ id: 2, pattern: 'echo', data: 'still' })));
    await eventually('both answers', () => bytes().includes('still'));
    const refused = MSGPACK_CODEC.decode(bytes().subarray(4, 4 + bytes().readUInt32BE()));
    expect(refused).toMatchObject({ id: 1, err: { code: 'INVALID_ARGUMENT', delivery: 'refused' } });
  });

  it('hands frames that are no packets to its default raw handler in that codec', async () => {
    const node = await serve({ channels: { '': (channel) => void echoing(channel).catch(() => undefined) } });
    const { stream, bytes } = await open(node, OFFER);
    stream.write(frame(packed([BYTES])));
    await eventually('the echo', () => bytes().length >= frame(packed([BYTES])).length);
    expect(bytes()).toEqual(frame(packed([BYTES])));
  });

  it('carries bytes of megabytes between small messages, in order', async () => {
    await mesh.serve('orders', ANSWERS);
    const caller = mesh.node({ codec: 'msgpack' });
    const target = { service: 'orders' };
    const large = Buffer.alloc(3_000_000, 'mesh');
    const sizes = [1, 70_000, 10, large.length, 2];
    const answers = await Promise.all(
      sizes.map((size) => callOf(caller, target, 'echo', large.subarray(0, size))),
    );
    expect(answers.map((answer) => (answer as Buffer).length)).toEqual(sizes);
    expect(answers.every((answer, at) => large.subarray(0, sizes[at]).equals(answer as Buffer))).toBe(true);
  });

  it('resets a channel whose framing cannot be trusted, as with JSON', async () => {
    const { stream } = await open(await serve(), OFFER);
    stream.write(prefix(0xffff_ffff));
    await eventually('the stream is reset', () => stream.closed);
  });
});
