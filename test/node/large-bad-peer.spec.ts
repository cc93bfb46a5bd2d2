/** Peers that break the rules of large messages, dialling and dialled: each fault ends what it belongs to, and nothing else. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { constants } from 'node:http2';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import { eventually } from '../support/eventually.js';
import { callOf, failureOf } from '../support/mesh-fixture.js';
import { frame, meshHeaders, prefix, RawClient, RawStream } from '../support/raw-peer.js';
import {
  dialled,
  dialling,
  expectUnharmed,
  LARGE,
  MAX_CHANNELS,
  MAX_FRAME_BYTES,
  mesh,
  type BadPeer,
} from './large-bad-peer-fixture.js';

afterEach(() => mesh.close());

/** Nothing that these tests do takes so long, on however busy a machine. */
const LONG_MS = 20_000;
/** For those that wait until a limit has passed; only what stands still may be subject to it. */
const SHORT_MS = 300;

const OPTIONS = {
  largeMessageBytes: 1_000,
  connectTimeoutMs: LONG_MS,
  limits: { maxFrameBytes: MAX_FRAME_BYTES, maxChannels: MAX_CHANNELS, incompleteFrameTimeoutMs: LONG_MS },
} satisfies Partial<MeshOptions>;
/** For streams that stand still. */
const STALLING = { ...OPTIONS, limits: { ...OPTIONS.limits, incompleteFrameTimeoutMs: SHORT_MS } };
/** For streams that are never opened. */
const UNOPENED = { ...OPTIONS, connectTimeoutMs: SHORT_MS };

/** What a peer does on a stream from which the node reads one packet. */
type Fault = readonly [
  name: string,
  write: (stream: RawStream) => void,
  code: string,
  options?: Partial<MeshOptions>,
];

const FAULTS: readonly Fault[] = [
  ['nothing at all', () => undefined, 'UNAVAILABLE', STALLING],
  ['no frame', ({ stream }) => void stream.end(), 'UNAVAILABLE'],
  ['half a frame, and stands still', (stream) => stream.write(prefix(50)), 'UNAVAILABLE', STALLING],
  ['half a frame, and ends', ({ stream }) => void stream.end(prefix(50)), 'DATA_LOSS'],
  ['a frame of no bytes', ({ stream }) => void stream.end(prefix(0)), 'INVALID_ARGUMENT'],
  ['what is not JSON', ({ stream }) => void stream.end(frame(Buffer.from('{"id":'))), 'INVALID_ARGUMENT'],
  ['what is no packet', ({ stream }) => void stream.end(frame({ hello: 1 })), 'UNAVAILABLE'],
  [
    'a packet that has no place there',
    ({ stream }) => void stream.end(frame({ drain: true })),
    'UNAVAILABLE',
  ],
  [
    'an answer to another call',
    ({ stream }) => void stream.end(frame({ id: 987, response: 1, isDisposed: true })),
    'UNAVAILABLE',
  ],
  [
    'a frame over limits.maxFrameBytes',
    ({ stream }) => void stream.end(frame(Buffer.alloc(MAX_FRAME_BYTES + 1, 'x'))),
    'RESOURCE_EXHAUSTED',
  ],
  ['a length that cannot be meant', (stream) => stream.write(prefix(0xffff_ffff)), 'RESOURCE_EXHAUSTED'],
  ['a reset', ({ stream }) => stream.close(constants.NGHTTP2_INTERNAL_ERROR), 'UNAVAILABLE'],
];

const SIDES: readonly [string, (options: Partial<MeshOptions>) => Promise<BadPeer>][] = [
  ['dialled', dialling],
  ['was dialled', dialled],
];

/** Begins a call of the node; resolves with its id once the peer has it. */
async function begin({ node, channel, peer }: BadPeer): Promise<{ id: number; answer: Promise<unknown> }> {
  const route = `call-${randomUUID()}`;
  const answer = callOf(node, { channel }, route);
  answer.catch(() => undefined);
  const { id } = await peer.next<{ id: number }>((packet) => packet['pattern'] === route);
  return { id, answer };
}

describe.each(SIDES)('On the stream of a packet, a peer that %s', (side, start) => {
  it.each(FAULTS)(
    'and sends %s as an answer fails that call alone',
    async (_, write, code, options = OPTIONS) => {
      const bad = await start(options);
      const { id, answer } = await begin(bad);
      const stream = await bad.answerOn(id);
      write(stream);
      expect(await failureOf(answer)).toMatchObject({ code, delivery: 'unknown' });
      await bad.peer.next((packet) => packet['id'] === id && packet['cancel'] === true);
      await expectUnharmed(bad);
    },
  );

  it.each(FAULTS)(
    'and sends %s as a request is warned of once at most',
    async (_, write, _code, options = OPTIONS) => {
      const bad = await start(options);
      for (let times = 0; times < 3; times += 1) write(await bad.requestOn());
      await expectUnharmed(bad);
    },
  );

  it('and sends two frames as an answer is answered by the first', async () => {
    const bad = await start(OPTIONS);
    const { id, answer } = await begin(bad);
    const stream = await bad.answerOn(id);
    stream.send({ id, response: 'one', isDisposed: true }, { id, response: 'two', isDisposed: true });
    expect(await answer).toBe('one');
    await expectUnharmed(bad);
  });

  it('and sends two requests has the first answered', async () => {
    const bad = await start(OPTIONS);
    for (const id of ['a', 'b', 'c']) {
      const stream = await bad.requestOn();
      stream.send({ id, pattern: 'double', data: 1 }, { id: `${id}2`, pattern: 'double', data: 2 });
      expect(await bad.peer.answer(id)).toMatchObject({ response: 2 });
    }
    await expectUnharmed(bad);
    expect(mesh.warnings).toEqual([expect.stringContaining('more than one frame')]);
    const second = ({ id }: { id?: unknown }): boolean => ['a2', 'b2', 'c2'].includes(String(id));
    expect(bad.peer.received.filter((packet) => second(packet as object))).toEqual([]);
  });

  it('and does not end the stream of a request has it answered, and the stream reset at last', async () => {
    const bad = await start(STALLING);
    const stream = await bad.requestOn();
    stream.send({ id: 'open', pattern: 'double', data: 1 });
    expect(await bad.peer.answer('open')).toMatchObject({ response: 2 });
    await expectUnharmed(bad);
    expect(mesh.warnings).toEqual([]);
  });

  it('and sends a request over limits.maxFrameBytes is told so', async () => {
    const bad = await start(OPTIONS);
    const stream = await bad.requestOn();
    stream.stream.end(frame({ id: 'huge', pattern: 'double', data: 'x'.repeat(MAX_FRAME_BYTES) }));
    expect(await bad.peer.answer('huge')).toMatchObject({
      err: { code: 'RESOURCE_EXHAUSTED', delivery: 'refused' },
    });
    await expectUnharmed(bad);
  });

  it('and speaks of a stream that it never opens fails that call', async () => {
    // Who has dialled opens the stream itself: it is one on which nothing comes.
    const bad = await start(side === 'dialled' ? UNOPENED : STALLING);
    const { id, answer } = await begin(bad);
    bad.peer.send({ id, open: randomUUID() });
    expect(await failureOf(answer)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await eventually('the stream is gone', () => bad.open() === 0);
    await expectUnharmed(bad);
  });

  it.each([
    ['without characters', ''],
    ['of 5,000 characters', 'x'.repeat(5_000)],
  ])('and speaks of a token %s fails that call', async (_, token) => {
    const bad = await start(OPTIONS);
    const { id, answer } = await begin(bad);
    bad.peer.send({ id, open: token }, { open: token, headers: { 'x-mesh-packet': 'request' } });
    expect(await failureOf(answer)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await expectUnharmed(bad);
  });

  it('and uses a token twice fails that call, and nothing is left of either stream', async () => {
    // What is left would stay: no limit takes it away.
    const bad = await start({ ...OPTIONS, limits: { ...OPTIONS.limits, incompleteFrameTimeoutMs: 0 } });
    const { id, answer } = await begin(bad);
    const token = randomUUID();
    bad.peer.send({ id, open: token }, { id, open: token });
    expect(await failureOf(answer)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await expectUnharmed(bad);
  });

  it('and speaks of packets of calls that do not exist is warned of once', async () => {
    const bad = await start(OPTIONS);
    for (const id of [4_000, 'x', -1]) bad.peer.send({ id, open: randomUUID() });
    const { id, answer } = await begin(bad);
    bad.peer.send({ id, response: 1, isDisposed: true });
    await answer;
    // Late is not wrong.
    bad.peer.send({ id, open: randomUUID() });
    await expectUnharmed(bad);
    expect(mesh.warnings).toEqual([expect.stringContaining('a call that was never made: id 4000')]);
  });

  it('and speaks of thousands of packets of one answer fails that call, and holds no more than the limit', async () => {
    const bad = await start(OPTIONS);
    const { id, answer } = await begin(bad);
    bad.peer.send(...Array.from({ length: 3_000 }, () => ({ id, open: randomUUID() })));
    expect(await failureOf(answer)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringContaining(`limits.maxChannels (${MAX_CHANNELS})`),
    });
    await expectUnharmed(bad);
  });

  it('and says that a packet of an answer cannot come ends that call with its error', async () => {
    const bad = await start(OPTIONS);
    const { id, answer } = await begin(bad);
    const token = randomUUID();
    const err = { status: 'error', code: 'RESOURCE_EXHAUSTED', message: 'too much', delivery: 'unknown' };
    bad.peer.send({ id, open: token }, { id, open: token, err, isDisposed: true });
    expect(await failureOf(answer)).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await expectUnharmed(bad);
  });

  /** What a peer does with a stream on which the node writes one packet. */
  const REFUSALS: readonly (readonly [
    name: string,
    options: Partial<MeshOptions>,
    refuse: ((stream: RawStream) => void) | undefined,
  ])[] = [
    ...(side === 'dialled' ? [['never opens', UNOPENED, undefined] as const] : []),
    ['does not read', STALLING, () => undefined],
    ['resets', OPTIONS, ({ stream }) => stream.close(constants.NGHTTP2_REFUSED_STREAM)],
  ];

  it.each(REFUSALS)(
    'and %s the stream of a request of the node fails that call, unsent',
    async (_, options, refuse) => {
      const bad = await start(options);
      const answer = failureOf(callOf(bad.node, { channel: bad.channel }, 'large', LARGE));
      if (refuse !== undefined) refuse(await bad.streamOf());
      expect(await answer).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
      await expectUnharmed(bad);
    },
  );

  it.each(REFUSALS)(
    'and %s the stream of an answer of the node is told that it cannot come',
    async (_, options, refuse) => {
      const bad = await start(options);
      bad.peer.send({ id: 'big', pattern: 'big' });
      if (refuse !== undefined) refuse(await bad.streamOf('big'));
      expect(await bad.peer.answer('big')).toMatchObject({
        open: expect.any(String),
        err: { code: 'UNAVAILABLE' },
      });
      await expectUnharmed(bad);
    },
  );
});

describe('A peer that dialled', () => {
  it('and opens streams with tokens that nobody knows is refused, or reset', async () => {
    const { node, peer, channel } = await dialling(UNOPENED);
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const id = randomUUID();
    expect((await client.refused({ ...meshHeaders(id), 'x-mesh-packet': 'request' })).status).toBe(400);
    await client.channel(meshHeaders(id));
    expect((await client.refused({ ...meshHeaders(id), 'x-mesh-open': 'nonsense' })).status).toBe(404);
    const long = { ...meshHeaders(id), 'x-mesh-packet': 'x'.repeat(129) };
    expect((await client.refused(long)).status).toBe(409);
    const first = new RawStream(client.request({ ...meshHeaders(id), 'x-mesh-packet': 'T' }), {});
    expect((await client.refused({ ...meshHeaders(id), 'x-mesh-packet': 'T' })).status).toBe(409);
    await eventually('the first is reset', () => first.closed);
    expect(peer.closed).toBe(false);
    expect(channel.usable).toBe(true);
    expect(mesh.warnings).toEqual([]);
  });

  it('and opens the stream that was wished for twice has the second refused', async () => {
    const bad = await dialling(OPTIONS);
    const { peer } = bad;
    peer.send({ id: 'big', pattern: 'big' });
    const stream = await bad.streamOf('big');
    expect(await failureStatus(bad, 'big')).toBe(404);
    stream.read();
    const packet = await eventually('the packet', () => stream.received[0]);
    expect(packet).toMatchObject({ id: 'big', response: LARGE });
    stream.stream.end();
    await expectUnharmed(bad);
  });

  async function failureStatus(bad: BadPeer, id: string): Promise<unknown> {
    const again = await bad.streamOf(id);
    again.stream.resume();
    return again.headers[':status'];
  }
});

describe('A peer that was dialled', () => {
  it('and wishes for thousands of streams has no more than the limit of them at a time', async () => {
    const bad = await dialled(STALLING);
    let most = 0;
    for (let at = 0; at < 30; at += 1) {
      const wish = (): unknown => ({ open: randomUUID(), headers: { 'x-mesh-packet': 'request' } });
      bad.peer.send(...Array.from({ length: 100 }, wish));
      await new Promise(setImmediate);
      most = Math.max(most, bad.channel.large.size, bad.channel.wishedStreams);
    }
    expect(most).toBeLessThanOrEqual(2 * MAX_CHANNELS);
    expect(most).toBeGreaterThan(1);
    // It answers none of them: one warning for those that did not come, and one for those that were too many.
    await eventually('none is left', () => bad.channel.large.size === 0 && bad.channel.wishedStreams === 0);
    expect(new Set(mesh.warnings).size).toBe(mesh.warnings.length);
    expect(mesh.warnings.length).toBeLessThanOrEqual(2);
    mesh.warnings.length = 0;
    await expectUnharmed(bad);
  });
});
