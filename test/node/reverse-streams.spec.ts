/** Raw channels and call streams that the side which was dialled opens to the dialler: served, refused, ended, cut. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ChannelOpening } from '../../lib/node/handlers.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { StreamInput } from '../../lib/transport/calling-stream.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { PacketChannel } from '../../lib/transport/packet-channel.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import type { Session } from '../../lib/transport/session.js';
import { eventually, stillPending, within } from '../support/eventually.js';
import { callOf, failureOf, handlersOf, Mesh, type Answers } from '../support/mesh-fixture.js';
import { meshHeaders, RawClient, type RawStream } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

interface Pair {
  readonly hub: MeshNode;
  readonly worker: MeshNode;
  /** The channel that the worker has opened, as the hub has it. */
  readonly channel: PacketChannel;
}

/** A hub, and a worker that has dialled it and listens nowhere. */
async function pair(answers: Answers, options: Partial<MeshOptions> = {}): Promise<Pair> {
  const channels: PacketChannel[] = [];
  const hub = await mesh.serve('hub', {
    calls: {
      register: (_: unknown, __: unknown, { channel }: { channel: PacketChannel | undefined }) => {
        if (channel !== undefined) channels.push(channel);
        return 'welcome';
      },
    },
  });
  const worker = mesh.node({ service: 'worker', ...options });
  worker.setHandlers(handlersOf(answers));
  await callOf(worker, { service: 'hub' }, 'register');
  const [channel] = channels;
  if (channel === undefined) throw new Error('the worker has no channel');
  return { hub, worker, channel };
}

function openRaw(hub: MeshNode, channel: PacketChannel, name?: string, signal?: AbortSignal) {
  return hub.openChannel(
    { channel },
    { name, metadata: { tenant: 'a' }, sessionId: 's-1', timeoutMs: 5_000, signal },
  );
}

function openCall(
  hub: MeshNode,
  channel: PacketChannel,
  route: string,
  input: StreamInput,
  timeoutMs = 5_000,
) {
  return hub.openCall({ channel }, { route, input, metadata: { Ünï: 'ß' }, timeoutMs });
}

async function valuesOf(call: AsyncIterator<unknown, undefined>): Promise<unknown[]> {
  const values: unknown[] = [];
  for (;;) {
    const result = await call.next();
    if (result.done === true) return values;
    values.push(result.value);
  }
}

function sessionOf(channel: PacketChannel): Session {
  return (channel as unknown as { streams: { session: Session } }).streams.session;
}

/** What the two sides hold for streams that were wished for. */
function held({ hub, worker, channel }: Pair): Record<string, number> {
  const dialled = worker['directories'].dialledChannels[0];
  return {
    tokens: sessionOf(channel).tokens.size,
    openings: (channel['streams'] as unknown as { openings: Set<unknown> }).openings.size,
    wished: dialled?.wishedStreams ?? 0,
    raw: worker['inbound'].raw.size,
    calls: worker['inbound'].streams.size,
    ownRaw: hub['outbound']['channels'].size,
    ownCalls: hub['outbound']['calls'].size,
  };
}

const NOTHING = { tokens: 0, openings: 0, wished: 0, raw: 0, calls: 0, ownRaw: 0, ownCalls: 0 };

async function expectNothingHeld(both: Pair): Promise<void> {
  await eventually('nothing is held', () => {
    expect(held(both)).toEqual(NOTHING);
    return true;
  });
}

describe('A raw channel that the dialled side opens', () => {
  it('carries values both ways, with the session id and the metadata of its opener', async () => {
    const openings: ChannelOpening[] = [];
    const both = await pair({
      channels: {
        chat: (channel: RawChannel, opening: ChannelOpening) => {
          openings.push(opening);
          void (async () => {
            for await (const value of channel) await channel.send({ echo: value });
            channel.end();
          })();
        },
      },
    });
    const { channel, opening } = await openRaw(both.hub, both.channel, 'chat');
    for (const value of [1, 'zwei', { three: [3] }]) await channel.send(value);
    channel.end();
    expect(await valuesOf(channel[Symbol.asyncIterator]())).toEqual([
      { echo: 1 },
      { echo: 'zwei' },
      { echo: { three: [3] } },
    ]);
    expect(await channel.whenClosed).toBeUndefined();
    expect(openings[0]).toMatchObject({
      name: 'chat',
      sessionId: 's-1',
      metadata: { tenant: 'a' },
      peer: { service: 'hub', nodeId: both.hub.id },
    });
    expect(opening).toMatchObject({ name: 'chat', peer: { service: 'worker', nodeId: both.worker.id } });
    await expectNothingHeld(both);
  });

  it('lets the opener go on sending after the handler has ended its half', async () => {
    const got: unknown[] = [];
    const both = await pair({
      channels: {
        '': (channel: RawChannel) => {
          channel.end();
          void (async () => {
            for await (const value of channel) got.push(value);
          })();
        },
      },
    });
    const { channel } = await openRaw(both.hub, both.channel);
    expect(await channel.next()).toEqual({ done: true, value: undefined });
    await channel.send('still here');
    channel.end();
    await eventually('the value has come', () => got.length === 1);
    await expectNothingHeld(both);
  });

  it('of a name that the dialler does not have is refused before anything is opened', async () => {
    const both = await pair({});
    expect(await failureOf(openRaw(both.hub, both.channel, 'nowhere'))).toMatchObject({
      code: 'NOT_FOUND',
      delivery: 'refused',
      service: 'worker',
      nodeId: both.worker.id,
      message: expect.stringContaining(`service 'worker' has no raw channel named "nowhere"`),
    });
    await expectNothingHeld(both);
    expect(mesh.warnings).toEqual([]);
  });

  it('breaks on both sides with an error when the session is lost', async () => {
    const seen: RawChannel[] = [];
    const both = await pair({ channels: { chat: (channel: RawChannel) => void seen.push(channel) } });
    const { channel } = await openRaw(both.hub, both.channel, 'chat');
    await eventually('the handler has it', () => seen.length === 1);
    sessionOf(both.channel).destroy();
    expect(await within(channel.whenClosed, 2_000)).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await within(seen[0]?.whenClosed ?? Promise.reject(new Error('none')), 2_000)).toMatchObject({
      code: 'UNAVAILABLE',
    });
    await expectNothingHeld(both);
  });
});

describe('A call stream that the dialled side opens', () => {
  const COUNT: Answers = {
    calls: {
      count: (to: number, call: InboundCall) => {
        for (let at = 1; at <= to; at += 1) call.next(at);
        call.complete();
      },
      sum: async (values: AsyncIterable<number>) => {
        let sum = 0;
        for await (const value of values) sum += value;
        return sum;
      },
      fails: (_: unknown, call: InboundCall) => {
        call.next('first');
        call.fail({ status: 'error', message: 'Grüße ß' });
      },
      waits: () => undefined,
    },
  };

  it('streams the answer and ends with the trailers of the dialler', async () => {
    const both = await pair(COUNT);
    const call = await openCall(both.hub, both.channel, 'count', { data: 3 });
    expect(await valuesOf(call)).toEqual([1, 2, 3]);
    await expectNothingHeld(both);
  });

  it('streams its input', async () => {
    const both = await pair(COUNT);
    async function* numbers(): AsyncGenerator<number> {
      for (let at = 1; at <= 1_000; at += 1) yield at;
    }
    const call = await openCall(both.hub, both.channel, 'sum', { values: numbers() });
    expect(await valuesOf(call)).toEqual([500_500]);
    await expectNothingHeld(both);
  });

  it('carries metadata of any characters and what is left of its time', async () => {
    const calls: InboundCall[] = [];
    const both = await pair({
      calls: { look: (_: unknown, call: InboundCall) => (calls.push(call), call.complete()) },
    });
    await valuesOf(await openCall(both.hub, both.channel, 'look', { data: null }, 1_234));
    expect(calls[0]).toMatchObject({ metadata: { Ünï: 'ß' }, timeoutMs: 1_234 });
  });

  it('rejects with what the handler fails with, after what came before', async () => {
    const both = await pair(COUNT);
    const call = await openCall(both.hub, both.channel, 'fails', { data: 1 });
    expect(await call.next()).toEqual({ done: false, value: 'first' });
    await expect(call.next()).rejects.toEqual({ status: 'error', message: 'Grüße ß' });
    await expectNothingHeld(both);
  });

  it('reaches the handler with its cancel', async () => {
    const calls: InboundCall[] = [];
    const both = await pair({ calls: { waits: (_: unknown, call: InboundCall) => void calls.push(call) } });
    const call = await openCall(both.hub, both.channel, 'waits', { data: 1 });
    const handled = await eventually('the call is handled', () => calls[0]);
    call.cancel();
    await eventually('the handler is told', () => handled.signal.aborted);
    await expectNothingHeld(both);
  });

  it('that is not answered in time fails, and the handler is told', async () => {
    const both = await pair(COUNT);
    const call = await openCall(both.hub, both.channel, 'waits', { data: 1 }, 100);
    await expect(call.next()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', service: 'worker' });
    await expectNothingHeld(both);
  });

  it('slows the handler when its reader is slow', async () => {
    let ahead = 0;
    const both = await pair({
      calls: {
        flood: async (_: unknown, call: InboundCall) => {
          const text = 'x'.repeat(64 * 1024);
          for (; ahead < 2_000 && call.open; ahead += 1) {
            call.next(text);
            if (call.congested) await call.ready();
          }
          call.complete();
          return undefined;
        },
      },
    });
    const call = await openCall(both.hub, both.channel, 'flood', { data: 1 });
    await call.next();
    const stands = async (): Promise<boolean> => {
      const before = ahead;
      return (
        (await stillPending(
          eventually('more', () => ahead > before, 300),
          250,
        )) && before > 0
      );
    };
    await eventually('the handler stands still', stands, 20_000);
    // 16 MiB of window, 1 MiB before it is congested, and what is read ahead.
    expect(ahead * 64).toBeLessThan(20 * 1024);
    call.cancel();
    await expectNothingHeld(both);
  });

  it('is refused by a dialler that shuts down, and what was begun before still ends', async () => {
    let finish: () => void = () => undefined;
    const both = await pair({
      calls: {
        slow: (_: unknown, call: InboundCall) => {
          finish = () => call.respond('done');
        },
      },
    });
    const call = await openCall(both.hub, both.channel, 'slow', { data: 1 });
    const answer = valuesOf(call);
    await eventually('it is handled', () => both.worker['inbound'].streams.size === 1);
    const stopping = both.worker.stopServing();
    expect(await failureOf(openCall(both.hub, both.channel, 'slow', { data: 1 }))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'refused',
    });
    expect(await stillPending(stopping, 50)).toBe(true);
    finish();
    expect(await answer).toEqual(['done']);
    await within(stopping, 3_000);
  });

  it('ends when the node that made it closes', async () => {
    const both = await pair(COUNT);
    const call = await openCall(both.hub, both.channel, 'waits', { data: 1 });
    const failed = failureOf(call.next());
    await both.hub.close();
    expect(await within(failed, 3_000)).toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('A dialler that does not keep to the wish', () => {
  /** A raw peer that dials, and the channel to it as the node has it. */
  async function rawDialler(
    options: Partial<MeshOptions> = {},
    headers: Record<string, string> = meshHeaders('3f0c6b52-8f0e-4f6b-9d53-1f1f6a2d7c11'),
  ) {
    const channels: PacketChannel[] = [];
    const hub = await mesh.serve(
      'hub',
      { event: (_, { channel }) => void (channel !== undefined && channels.push(channel)) },
      { connectTimeoutMs: 300, ...options },
    );
    const client = mesh.keep(await RawClient.dial(hub.record.port));
    const stream = await client.channel(headers);
    stream.send({ pattern: 'hello', data: 1 });
    const channel = await eventually('the channel at the hub', () => channels[0]);
    const token = async (): Promise<string> =>
      (await stream.next<{ open: string }>((packet) => typeof packet['open'] === 'string')).open;
    return { hub, client, stream, channel, token };
  }

  async function open(client: RawClient, token: string, headers = {}): Promise<RawStream> {
    return client.channel({ 'x-mesh-open': token, ...headers });
  }

  it('and opens nothing makes the opening fail as not sent, and may not open it later', async () => {
    const { hub, client, channel, token } = await rawDialler();
    expect(await failureOf(openRaw(hub, channel, 'chat'))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      message: expect.stringContaining('connectTimeoutMs'),
    });
    expect(await client.refused({ 'x-mesh-open': await token() })).toMatchObject({ status: 404 });
    expect(sessionOf(channel).tokens.size).toBe(0);
  });

  it('is told the headers of the wish: name, session id and metadata, and nothing that it knows already', async () => {
    const { hub, stream, client, channel, token } = await rawDialler();
    const opening = openRaw(hub, channel, 'a b');
    const wish = await stream.next<{ open: string }>((packet) => typeof packet['open'] === 'string');
    expect(wish).toEqual({
      open: await token(),
      headers: { 'x-mesh-channel': 'a%20b', 'x-session-id': 's-1', tenant: 'a' },
    });
    await open(client, wish.open);
    (await opening).channel.close();
  });

  it('and opens it twice has the second one refused', async () => {
    const { hub, client, channel, token } = await rawDialler();
    const opening = openRaw(hub, channel, 'chat');
    const far = await open(client, await token());
    const { channel: raw } = await opening;
    expect(await client.refused({ 'x-mesh-open': await token() })).toMatchObject({ status: 404 });
    await raw.send('hello');
    await eventually('the value', () => far.received[0] === 'hello');
    raw.close();
  });

  it.each([
    [
      'a code and an error',
      {
        'mesh-status': 'PERMISSION_DENIED',
        'mesh-error': '{"status":"error","code":"PERMISSION_DENIED","message":"no","delivery":"refused"}',
      },
      'PERMISSION_DENIED',
    ],
    ['a code alone', { 'mesh-status': 'ABORTED' }, 'UNKNOWN'],
    ['the status OK', { 'mesh-status': 'OK' }, 'INTERNAL'],
    ['an error that is not JSON', { 'mesh-status': 'ABORTED', 'mesh-error': '{' }, 'UNKNOWN'],
    ['an error of any shape', { 'mesh-status': 'ABORTED', 'mesh-error': '7' }, 'UNKNOWN'],
  ])('and refuses it with %s makes the opening fail, and its stream ends', async (_, headers, code) => {
    const { hub, client, channel, token } = await rawDialler();
    const opening = failureOf(openRaw(hub, channel, 'chat'));
    const refusal = client.request({ 'x-mesh-open': await token(), ...headers }, true);
    refusal.resume();
    expect(await opening).toMatchObject({ code });
    await eventually('the stream has ended', () => refusal.closed);
    expect(refusal.rstCode).toBe(0);
  });

  it('and ends the session makes the opening fail at once', async () => {
    const { hub, client, channel, token } = await rawDialler({ connectTimeoutMs: 60_000 });
    const opening = failureOf(openRaw(hub, channel, 'chat'));
    await token();
    await client.close();
    expect(await within(opening, 2_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(sessionOf(channel).tokens.size).toBe(0);
  });

  it('and knows part 1 only is asked for nothing', async () => {
    const { hub, stream, channel } = await rawDialler({}, {});
    expect(await failureOf(openRaw(hub, channel, 'chat'))).toMatchObject({
      code: 'UNIMPLEMENTED',
      delivery: 'refused',
    });
    expect(stream.received).toEqual([]);
  });

  it('and wishes for a stream itself, although it can open one, is ignored with one warning', async () => {
    const { stream, client } = await rawDialler();
    stream.send({ open: 'abc', headers: { 'x-mesh-channel': 'chat' } }, { open: 'def' });
    await eventually('the warning', () => mesh.warnings.length > 0);
    await client.channel(meshHeaders('3f0c6b52-8f0e-4f6b-9d53-1f1f6a2d7c12'));
    expect(mesh.warnings).toEqual([expect.stringContaining('a stream that it can open itself')]);
  });

  it('has its waiting caller leave at once when the signal aborts', async () => {
    const { hub, client, channel, token } = await rawDialler({ connectTimeoutMs: 60_000 });
    const controller = new AbortController();
    const opening = failureOf(openRaw(hub, channel, 'chat', controller.signal));
    const wanted = await token();
    controller.abort();
    expect(await within(opening, 1_000)).toMatchObject({ code: 'CANCELLED', delivery: 'not-sent' });
    const late = client.request({ 'x-mesh-open': wanted });
    await eventually('the stream is reset', () => late.closed);
    expect(late.rstCode).toBe(8);
  });
});
