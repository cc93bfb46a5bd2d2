/** A peer, dialling or dialled, that does by hand what it likes with the streams of large messages. */
import { expect } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ServerHttp2Stream } from 'node:http2';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { PacketChannel } from '../../lib/transport/packet-channel.js';
import type { Session } from '../../lib/transport/session.js';
import { eventually } from '../support/eventually.js';
import { callOf, handlersOf, Mesh, recordOf, StaticRegistry, type Answers } from '../support/mesh-fixture.js';
import { meshHeaders, RawClient, RawServer, RawStream } from '../support/raw-peer.js';

export const mesh = new Mesh();

/** Over `largeMessageBytes` and the window of a stream that is not read. */
export const LARGE = 'x'.repeat(200_000);
export const MAX_FRAME_BYTES = 400_000;
export const MAX_CHANNELS = 16;
const ANSWERS: Answers = { calls: { double: (n: number) => n * 2, big: () => LARGE, keep: () => undefined } };

export interface BadPeer {
  readonly node: MeshNode;
  readonly channel: PacketChannel;
  /** The packet channel, as the peer has it. */
  readonly peer: RawStream;
  /** Says that the next packet of the answer to the node's call `id` comes on a stream of its own, and has that stream. */
  answerOn(id: unknown, token?: string): Promise<RawStream>;
  /** Has a stream for a request of the peer. */
  requestOn(): Promise<RawStream>;
  /** Has the stream on which the node writes, for a request of the node or for its answer to `id`. */
  streamOf(id?: unknown): Promise<RawStream>;
  /** Streams of large messages that stand at the peer. */
  open(): number;
}

const stand = (streams: readonly RawStream[]): number => streams.filter(({ closed }) => !closed).length;

export async function dialling(options: Partial<MeshOptions>): Promise<BadPeer> {
  const node = await mesh.serve('orders', ANSWERS, options);
  const client = mesh.keep(await RawClient.dial(node.record.port));
  const id = randomUUID();
  const peer = await client.channel(meshHeaders(id));
  const channel = node['inbound'].ofNode(id);
  if (channel === undefined) throw new Error('there is no channel');
  const streams: RawStream[] = [];
  const openWith = (headers: Record<string, string>): RawStream => {
    const stream = new RawStream(client.request({ ...meshHeaders(id), ...headers }), {}, false);
    stream.stream.resume();
    streams.push(stream);
    return stream;
  };
  return {
    node,
    channel,
    peer,
    answerOn(call, token = randomUUID()) {
      peer.send({ id: call, open: token });
      return Promise.resolve(openWith({ 'x-mesh-packet': token }));
    },
    requestOn: () => Promise.resolve(openWith({ 'x-mesh-packet': 'request' })),
    async streamOf(call) {
      const { open } = await peer.next<{ open: string }>(
        (packet) => typeof packet['open'] === 'string' && packet['id'] === call,
      );
      return client.channel({ ...meshHeaders(id), 'x-mesh-open': open }, false);
    },
    open: () => stand(streams),
  };
}

export async function dialled(options: Partial<MeshOptions>): Promise<BadPeer> {
  const id = randomUUID();
  const isSide = ({ headers }: RawStream): boolean => 'x-mesh-open' in headers || 'x-mesh-packet' in headers;
  const accept = (stream: RawStream, raw: ServerHttp2Stream): void => {
    if (!isSide(stream)) raw.respond({ ':status': 200, ...meshHeaders(id) });
  };
  const server = await RawServer.start(accept, { reading: false });
  const node = mesh.node({ registry: new StaticRegistry(recordOf('orders', server.port, id)), ...options });
  node.setHandlers(handlersOf(ANSWERS));
  // Closed before the node, which would wait for the channel that this peer does not end.
  mesh.keep(server);
  const first = callOf(node, { service: 'orders' }, 'first');
  const peer = await server.stream();
  peer.read();
  const { id: call } = await peer.next<{ id: number }>((packet) => packet['pattern'] === 'first');
  peer.send({ id: call, response: 1, isDisposed: true });
  await first;
  const [channel] = node['directories'].dialledChannels;
  if (channel === undefined) throw new Error('there is no channel');
  const opened = async (header: string, token: string): Promise<RawStream> => {
    const find = (): RawStream | undefined => server.streams.find(({ headers }) => headers[header] === token);
    const stream = await eventually(`the stream with ${header}: ${token}`, find);
    (stream.stream as ServerHttp2Stream).respond({ ':status': 200, ...meshHeaders(id) });
    return stream;
  };
  return {
    node,
    channel,
    peer,
    answerOn(to, token = randomUUID()) {
      peer.send({ id: to, open: token });
      return opened('x-mesh-open', token);
    },
    requestOn() {
      const token = randomUUID();
      peer.send({ open: token, headers: { 'x-mesh-packet': 'request' } });
      return opened('x-mesh-open', token);
    },
    async streamOf(to) {
      if (to === undefined) return opened('x-mesh-packet', 'request');
      const { open } = await peer.next<{ open: string }>(
        (packet) => typeof packet['open'] === 'string' && packet['id'] === to,
      );
      return opened('x-mesh-packet', open);
    },
    open: () => stand(server.streams.filter(isSide)),
  };
}

/** What the node holds for calls and large messages of the channel. */
function held({ channel }: BadPeer): unknown {
  const { session } = channel.streams as unknown as { session: Session };
  return {
    calls: channel.openCalls,
    large: channel.large.size,
    bytes: channel.large['pendingBytes'],
    answers: channel['inbound']['answers']['pending'].size,
    tokens: session.tokens.size,
    arrivals: session.arrivals.size,
    wished: channel.wishedStreams,
  };
}

const NOTHING = { calls: 0, large: 0, bytes: 0, answers: 0, tokens: 0, arrivals: 0, wished: 0 };

/** Both directions of the channel answer calls, nothing is left of the others, and there was one warning at most. */
export async function expectUnharmed(bad: BadPeer): Promise<void> {
  const { node, channel, peer } = bad;
  const id = randomUUID();
  peer.send({ id, pattern: 'double', data: 4 });
  expect(await peer.answer(id)).toMatchObject({ response: 8 });
  const route = `alive-${id}`;
  const answer = callOf(node, { channel }, route);
  const call = await peer.next<{ id: number }>((packet) => packet['pattern'] === route);
  peer.send({ id: call.id, response: 'alive', isDisposed: true });
  expect(await answer).toBe('alive');
  await eventually('nothing is left', () => {
    expect(held(bad)).toEqual(NOTHING);
    expect(bad.open()).toBe(0);
    return true;
  });
  expect(mesh.warnings.length).toBeLessThanOrEqual(1);
}
