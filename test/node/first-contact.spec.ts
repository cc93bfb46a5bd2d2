/** Raw channels as the first that a node opens to another: the peer can call back, and one of part 1 sees no more than the channel. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ChannelOpening } from '../../lib/node/handlers.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { CallerTarget } from '../../lib/node/target.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { pause, within } from '../support/eventually.js';
import { callOf, failureOf, handlersOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';
import { RawServer } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

function openRaw(node: MeshNode, service = 'hub') {
  return node.openChannel(
    { service },
    { name: 'talk', metadata: undefined, sessionId: undefined, timeoutMs: 5_000 },
  );
}

/** A hub that does something with whoever opens its raw channel, and sends back what comes of it. */
async function hub(use: (hub: MeshNode, caller: CallerTarget) => Promise<unknown>): Promise<MeshNode> {
  const talk = (channel: RawChannel, { peer }: ChannelOpening): void => {
    const target: CallerTarget = { service: peer.service, nodeId: peer.nodeId ?? '', back: true };
    void use(node, target)
      .then((result) => channel.send(result))
      .finally(() => channel.end());
  };
  const node: MeshNode = await mesh.serve('hub', { channels: { talk } });
  return node;
}

/** A node that listens nowhere. */
function caller(name: string): MeshNode {
  const node = mesh.node({ service: 'caller' });
  node.setHandlers(handlersOf({ calls: { name: () => name } }));
  return node;
}

async function resultAt(node: MeshNode): Promise<unknown> {
  const { channel } = await openRaw(node);
  const { value } = await channel.next();
  channel.close();
  return value;
}

describe('A node that listens nowhere and opens a raw channel first', () => {
  it('is called back by its id, each of several of them', async () => {
    await hub((node, target) => callOf(node, target, 'name'));
    const callers = ['one', 'two', 'three'].map(caller);
    expect(await Promise.all(callers.map(resultAt))).toEqual(['one', 'two', 'three']);
  });

  it('is no node of its service: others do not reach it by the name of that', async () => {
    let reached = '';
    const node = await hub(async (self, target) => (reached = String(await callOf(self, target, 'name'))));
    await resultAt(caller('one'));
    expect(reached).toBe('one');
    const byName = failureOf(callOf(node, { service: 'caller' }, 'name', 1, { timeoutMs: 200 }));
    expect(await byName).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    const event = { pattern: 'x', route: 'x', data: 1, metadata: undefined, timeoutMs: 200 };
    expect(await failureOf(node.broadcast('caller', event))).toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('is called back before, while and after it makes itself known, which renews its packet channel', async () => {
    let announcing: Promise<void> | undefined;
    const from = mesh.node({ service: 'caller', listen: false, connectTo: ['hub'] });
    from.setHandlers(handlersOf({ calls: { name: () => ((announcing ??= from.announce()), 'one') } }));
    await from.listen();
    const node = await hub(async (self, target) => {
      const names: unknown[] = [await callOf(self, target, 'name')];
      const [old] = self['inbound'].channels;
      const stands = (): boolean => old !== undefined && self['inbound'].channels.has(old);
      while (stands()) names.push(callOf(self, target, 'name'), await callOf(self, target, 'name'));
      return new Set([...(await Promise.all(names)), await callOf(self, { service: 'caller' }, 'name')]).size;
    });
    expect(await resultAt(from)).toBe(1);
    await announcing;
    expect(node['inbound'].channels.size).toBe(1);
  });

  it('can be closed at any moment, and waits for nothing then', async () => {
    await hub(() => Promise.resolve('unused'));
    for (let turns = 0; turns < 30; turns += 3) {
      const node = caller('one');
      const opening = openRaw(node).catch(() => undefined);
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await within(node.close(), 900); // Below the second after which a peer that does not answer is left.
      await opening;
    }
  });
});

describe('A part 1 peer', () => {
  it('to which a raw channel is opened first gets that stream and no other', async () => {
    const server = mesh.keep(await RawServer.start());
    const node = mesh.node({ registry: new StaticRegistry(recordOf('old', server.port)) });
    const { channel } = await openRaw(node, 'old');
    const peer = await server.stream();
    peer.send('hello');
    expect(await channel.next()).toEqual({ done: false, value: 'hello' });
    await pause(50); // A further stream would have come by now.
    expect(server.streams).toHaveLength(1);
    channel.close();
  });

  it('gets raw channels also after calls, but no call stream', async () => {
    const server = mesh.keep(await RawServer.start());
    const node = mesh.node({ registry: new StaticRegistry(recordOf('old', server.port)) });
    const call = callOf(node, { service: 'old' }, 'good');
    const packets = await server.stream();
    const { id } = await packets.next<{ id: number }>(({ pattern }) => pattern === 'good');
    packets.send({ id, response: 5, isDisposed: true });
    expect(await call).toBe(5);
    const { channel } = await openRaw(node, 'old');
    expect((await server.stream(1)).headers['x-mesh-channel']).toBe('talk');
    channel.close();
    const request = { route: 'x', input: { data: 1 }, metadata: undefined, timeoutMs: 1_000 };
    expect(await failureOf(node.openCall({ service: 'old' }, request))).toMatchObject({
      code: 'UNIMPLEMENTED',
      delivery: 'refused',
    });
    expect(server.streams).toHaveLength(2);
    packets.stream.end();
  });
});
