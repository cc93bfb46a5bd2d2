/** Nodes that leave while call streams and raw channels are being opened: each of them finds a node that takes it. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Http2Server } from 'node:http2';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const MATH = { service: 'math' };

const ANSWERS = {
  calls: { name: (_: unknown, call: InboundCall) => call.respond('math') },
  channels: {
    hello: (channel: RawChannel) => {
      void channel.send('hello');
      channel.end();
    },
  },
};

function openChannel(caller: MeshNode, timeoutMs = 5_000, nodeId?: string) {
  return caller.openChannel(
    { ...MATH, nodeId },
    { name: 'hello', metadata: undefined, sessionId: undefined, timeoutMs },
  );
}

async function useChannel(caller: MeshNode): Promise<unknown> {
  const { channel } = await openChannel(caller);
  const { value } = await channel.next();
  channel.close();
  return value;
}

async function useCall(caller: MeshNode): Promise<unknown> {
  const call = await caller.openCall(MATH, {
    route: 'name',
    input: { data: 1 },
    metadata: undefined,
    timeoutMs: 5_000,
  });
  const { value } = await call.next();
  await call.next();
  return value;
}

/** A node that hangs on its way out: it takes nothing new, and its peers do not hear of it before `goOn`. */
async function hangsWhenLeaving(): Promise<{ node: MeshNode; goOn: () => void }> {
  let goOn: () => void = () => undefined;
  const withdrawn = new Promise<void>((resolve) => (goOn = resolve));
  const registry = new StaticRegistry();
  registry.announce = () => Promise.resolve({ update: () => Promise.resolve(), withdraw: () => withdrawn });
  return { node: await mesh.serve('math', ANSWERS, { registry }), goOn };
}

/** A caller with a packet channel to each of the nodes. */
async function callerOf(...nodes: MeshNode[]): Promise<MeshNode> {
  const records = nodes.map(({ id, record }) => recordOf('math', record.port, id));
  const caller = mesh.node({ registry: new StaticRegistry(...records) });
  for (const { id: nodeId } of nodes) await callOf(caller, { ...MATH, nodeId }, 'name');
  return caller;
}

describe('A node that shuts down, of which its peers have not heard yet', () => {
  it('costs no call stream and no raw channel: other nodes take them', async () => {
    const leaving = [await hangsWhenLeaving(), await hangsWhenLeaving()];
    const staying = await mesh.serve('math', ANSWERS, { registry: new StaticRegistry() });
    const caller = await callerOf(...leaving.map(({ node }) => node), staying);
    const stopped = leaving.map(({ node }) => node.stopServing());
    const uses = Array.from({ length: 30 }, (_, at) => (at % 2 === 0 ? useChannel(caller) : useCall(caller)));
    expect(new Set(await Promise.all(uses))).toEqual(new Set(['hello', 'math']));
    for (const { goOn } of leaving) goOn();
    await Promise.all(stopped);
    expect(await useChannel(caller)).toBe('hello');
  });

  it('is asked again less and less often when there is no other, and the error says what it says', async () => {
    const { node, goOn } = await hangsWhenLeaving();
    const caller = await callerOf(node);
    const stopped = node.stopServing();
    let asked = 0;
    (node.httpServer as Http2Server).on('stream', () => (asked += 1));
    expect(await failureOf(openChannel(caller, 600))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      message: expect.stringContaining('shutting down'),
    });
    expect(asked).toBeGreaterThan(1);
    // Delays of up to 100 ms, the first ones shorter, each by chance down to nothing.
    expect(asked).toBeLessThan(100);
    goOn();
    await stopped;
  });

  it('says so at once when it has to be that node', async () => {
    const { node, goOn } = await hangsWhenLeaving();
    const caller = await callerOf(node);
    const stopped = node.stopServing();
    expect(await within(failureOf(openChannel(caller, 0, node.id)), 2_000)).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'refused',
      nodeId: node.id,
    });
    goOn();
    await stopped;
  });

  it('leaves what waits to a node that comes later', async () => {
    const { node, goOn } = await hangsWhenLeaving();
    const caller = await callerOf(node);
    const stopped = node.stopServing();
    let refused = false;
    (node.httpServer as Http2Server).on('stream', () => (refused = true));
    const opening = openChannel(caller, 10_000);
    await eventually('it has refused', () => refused);
    const next = await mesh.serve('math', ANSWERS, { registry: new StaticRegistry() });
    (caller.registry as StaticRegistry).set(recordOf('math', next.record.port, next.id));
    expect((await opening).opening.peer.nodeId).toBe(next.id);
    goOn();
    await stopped;
  });
});

describe('A rolling restart', () => {
  it('loses no call stream and no raw channel', async () => {
    await mesh.serve('math', ANSWERS);
    const callers = [mesh.node(), mesh.node()];
    const over = new AbortController();
    let used = 0;
    const lane = async (caller: MeshNode, use: (caller: MeshNode) => Promise<unknown>): Promise<void> => {
      while (!over.signal.aborted) {
        expect(['math', 'hello']).toContain(await use(caller));
        used += 1;
        await pause(1); // Lets the other lanes and nodes run.
      }
    };
    const lanes = callers.flatMap((caller) =>
      [useChannel, useCall, useChannel, useCall].map((use) => lane(caller, use)),
    );
    const all = Promise.all(lanes);
    all.catch(() => undefined);
    for (let round = 0; round < 4; round += 1) {
      const node = await mesh.serve('math', ANSWERS);
      await pause(150); // The load finds it.
      await node.close();
    }
    over.abort();
    await all;
    expect(used).toBeGreaterThan(50);
  });
});
