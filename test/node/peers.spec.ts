/** What a node says of its peers: how it stands with each of them, and what becomes of them. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { connect } from 'node:http2';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { PEER_EVENTS, type MeshPeer } from '../../lib/node/peer-events.js';
import type { PeerStatus } from '../../lib/node/peer-status.js';
import type { MeshError } from '../../lib/protocol/mesh-error.js';
import { ChildPeer } from '../support/child-peer.js';
import { eventually } from '../support/eventually.js';
import { callOf, failureOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';

const MATH = { service: 'math' };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** The events that a node tells, each as `name service`, with the message where there is one. */
function heardBy(node: MeshNode): string[] {
  const heard: string[] = [];
  for (const event of PEER_EVENTS) {
    node.on(event, ({ service }: MeshPeer, detail?: MeshError) =>
      heard.push(`${event} ${service}${detail === undefined ? '' : `: ${detail.message}`}`),
    );
  }
  return heard;
}

function peerOf(node: MeshNode, nodeId: string | undefined): PeerStatus | undefined {
  return node.status.peers.find((peer) => peer.nodeId === nodeId);
}

describe('the status of a peer', () => {
  it('is idle while it is only listed, and connected with who dialled once it is called, at both ends', async () => {
    const server = await mesh.serve('math', { calls: { double: (n: number) => 2 * n } });
    const caller = mesh.node();
    await caller.discover('math');
    expect(peerOf(caller, server.id)).toMatchObject({
      service: 'math',
      state: 'idle',
      dialledBy: undefined,
      openCalls: 0,
      lastError: undefined,
    });
    expect(server.status.peers).toEqual([]);
    await callOf(caller, MATH, 'double', 2);
    const { host, port } = server.record;
    expect(peerOf(caller, server.id)).toEqual({
      service: 'math',
      nodeId: server.id,
      address: `${host}:${port}`,
      state: 'connected',
      dialledBy: 'self',
      openCalls: 0,
      openChannels: 0,
      load: { open: 0, latencyMs: expect.any(Number), state: 'closed' },
      lastError: undefined,
    });
    expect(peerOf(server, caller.id)).toMatchObject({
      service: 'caller',
      state: 'connected',
      dialledBy: 'peer',
    });
  });

  it('says that both have dialled when each side has', async () => {
    const one = await mesh.serve('one', { calls: { ping: () => 'one' } });
    const two = await mesh.serve('two', { calls: { ping: () => 'two' } });
    await Promise.all([callOf(one, { service: 'two' }, 'ping'), callOf(two, { service: 'one' }, 'ping')]);
    await eventually('both have a channel of their own', () => peerOf(one, two.id)?.dialledBy === 'both');
    expect(one.status.peers).toHaveLength(1);
  });

  it('counts open calls and raw channels at both ends, and none once they have ended', async () => {
    const held: (() => void)[] = [];
    const server = await mesh.serve('math', {
      calls: { hold: () => new Promise((resolve) => held.push(() => resolve('done'))) },
      channels: { chat: () => undefined },
    });
    const caller = mesh.node();
    const calls = [callOf(caller, MATH, 'hold'), callOf(caller, MATH, 'hold')];
    const { channel } = await caller.openChannel(MATH, {
      name: 'chat',
      metadata: undefined,
      sessionId: undefined,
      timeoutMs: 5_000,
    });
    const stream = await caller.openCall(MATH, {
      route: 'hold',
      input: { data: 1 },
      metadata: undefined,
      timeoutMs: 5_000,
    });
    await eventually('all of them have arrived', () => held.length === 3);
    const open = { openCalls: 3, openChannels: 1 };
    expect(peerOf(caller, server.id)).toMatchObject(open);
    expect(peerOf(server, caller.id)).toMatchObject(open);
    for (const release of held) release();
    expect(await stream.next()).toEqual({ done: false, value: 'done' });
    await Promise.all(calls);
    channel.close();
    const none = { openCalls: 0, openChannels: 0 };
    await eventually('nothing is open', () => {
      expect(peerOf(caller, server.id)).toMatchObject(none);
      expect(peerOf(server, caller.id)).toMatchObject(none);
      return true;
    });
  });

  it('is unreachable with the reason while nobody answers at its address', async () => {
    const caller = mesh.node({ registry: new StaticRegistry(recordOf('math', 1)) });
    await failureOf(callOf(caller, MATH, 'double', 1, { timeoutMs: 300 }));
    const [peer] = caller.status.peers;
    expect(['unreachable', 'connecting']).toContain(peer?.state);
    expect(peer?.lastError?.message).toContain('127.0.0.1:1');
  });

  it('is draining once the peer has said so, while a call is still answered', async () => {
    let release: () => void = () => undefined;
    const server = await mesh.serve('math', {
      calls: { hold: () => new Promise((resolve) => (release = () => resolve('late'))) },
    });
    const caller = mesh.node();
    const heard = heardBy(caller);
    const call = callOf(caller, MATH, 'hold');
    await eventually('the call has arrived', () => peerOf(server, caller.id)?.openCalls === 1);
    const stopped = server.stopServing();
    await eventually('the caller knows', () => peerOf(caller, server.id)?.state === 'draining');
    expect(peerOf(caller, server.id)?.openCalls).toBe(1);
    release();
    expect(await call).toBe('late');
    await stopped;
    await eventually('the channel is gone', () => heard.length === 3);
    expect(heard).toEqual(['peerConnected math', 'peerDraining math', 'peerLost math']);
  });
});

describe('the events about peers', () => {
  it('tell once that a peer came and once that it went, however many channels there were', async () => {
    const one = await mesh.serve('one', { calls: { ping: () => 'one' } });
    const two = await mesh.serve('two', { calls: { ping: () => 'two' } });
    const heard = heardBy(one);
    await Promise.all([callOf(one, { service: 'two' }, 'ping'), callOf(two, { service: 'one' }, 'ping')]);
    await eventually('both have a channel of their own', () => peerOf(one, two.id)?.dialledBy === 'both');
    await two.close();
    await eventually('it is gone', () => heard.some((line) => line.startsWith('peerLost')));
    expect(heard.map((line) => line.split(':')[0])).toEqual([
      'peerConnected two',
      'peerDraining two',
      'peerLost two',
    ]);
  });

  it('tell of a peer that died with the reason, and then once that it cannot be reached', async () => {
    const peer = await ChildPeer.start('math');
    mesh.keep(peer);
    const caller = mesh.node({ registry: new StaticRegistry(peer.record) });
    const heard = heardBy(caller);
    await callOf(caller, MATH, 'any', 1);
    peer.kill();
    await eventually('attempts have failed', () => heard.length >= 3);
    await failureOf(callOf(caller, MATH, 'any', 1, { timeoutMs: 300 }));
    expect(heard).toHaveLength(3);
    expect(heard[0]).toBe('peerConnected math');
    expect(heard[1]).toMatch(/^peerLost math: \[UNAVAILABLE\]/);
    expect(heard[2]).toMatch(/^peerUnreachable math: \[UNAVAILABLE\].*127\.0\.0\.1/);
  });

  it('go to no listener that was taken away, and one that throws harms nobody', async () => {
    const server = await mesh.serve('math', { calls: { double: (n: number) => 2 * n } });
    const caller = mesh.node();
    const heard: string[] = [];
    const stop = caller.on('peerConnected', () => heard.push('stopped'));
    caller.on('peerConnected', () => {
      throw new Error('at once');
    });
    const failLater = (): unknown => Promise.reject(new Error('later'));
    caller.on('peerConnected', failLater);
    caller.on('peerConnected', ({ nodeId }) => heard.push(String(nodeId)));
    stop();
    expect(await callOf(caller, MATH, 'double', 4)).toBe(8);
    expect(heard).toEqual([server.id]);
    await eventually('both faults are logged', () => mesh.warnings.length === 2);
    expect(mesh.warnings).toEqual([
      "a listener to 'peerConnected' threw: at once",
      "a listener to 'peerConnected' threw: later",
    ]);
  });

  it('tell of a peer of unknown id that knows part 1 only by its address', async () => {
    const server = await mesh.serve('math');
    const heard: unknown[] = [];
    server.on('peerConnected', (peer) => heard.push(peer));
    const { host, port } = server.record;
    const http2 = connect(`http://${host}:${port}`);
    mesh.keep({
      close: () =>
        new Promise<void>((resolve) => {
          http2.close(resolve);
          http2.destroy();
        }),
    });
    const stream = http2.request({ ':method': 'POST', ':path': '/channel', 'x-service-name': 'old' });
    stream.on('error', () => undefined);
    await eventually('it is connected', () => heard.length === 1);
    expect(heard).toEqual([
      { service: 'old', nodeId: undefined, address: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
    ]);
    expect(server.status.peers).toEqual([
      expect.objectContaining({ service: 'old', nodeId: undefined, state: 'connected', dialledBy: 'peer' }),
    ]);
  });
});
