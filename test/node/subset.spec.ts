/** Clients of a service with many nodes: each has sessions with some of them, and reaches all of them. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { Ranking } from '../../lib/routing/ranking.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { eventually, pause } from '../support/eventually.js';
import { callOf, failureOf, Mesh, recordOf, StaticRegistry, type Answers } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };
const NODES = 60;

const mesh = new Mesh();
afterEach(() => mesh.close());

/** Nodes that answer `who` with their ids. */
async function serveMany(count: number, answers: Answers = {}): Promise<MeshNode[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const node: MeshNode = await mesh.serve('work', {
        ...answers,
        calls: { ...answers.calls, who: () => node.id },
      });
      return node;
    }),
  );
}

/** A caller that has found that many nodes. */
async function callerOf(count: number, options: Parameters<Mesh['node']>[0] = {}): Promise<MeshNode> {
  const caller = mesh.node({ picker: roundRobin, ...options });
  await eventually('all are found', async () => (await caller.discover('work')).length === count, 20_000);
  return caller;
}

/** Who answers, and how often. */
async function whoAnswers(caller: MeshNode, times: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (let n = 0; n < times; n += 1) {
    const id = String(await callOf(caller, WORK, 'who'));
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** The nodes with which there are sessions. */
function connectedTo(caller: MeshNode): string[] {
  return caller.status.peers.flatMap(({ nodeId, dialledBy }) => (dialledBy === 'self' ? (nodeId ?? []) : []));
}

/** The nodes in the order in which the caller wants them. */
function rankOf<Node extends { readonly id: string }>(caller: MeshNode, nodes: readonly Node[]): Node[] {
  const ranking = new Ranking<Node>(caller.id);
  for (const node of nodes) ranking.add(node);
  return [...ranking];
}

function idsOf(nodes: readonly { readonly id: string }[]): string[] {
  return nodes.map(({ id }) => id).sort();
}

describe('a client of a service with many nodes', () => {
  it('has sessions with 20 of 60, and gives each of them as many calls', async () => {
    const nodes = await serveMany(NODES);
    const caller = await callerOf(NODES);
    await whoAnswers(caller, 100); // By now each has been dialled.
    const counts = await whoAnswers(caller, 200);
    expect([...counts.values()]).toEqual(Array.from({ length: 20 }, () => 10));
    expect([...counts.keys()].sort()).toEqual(idsOf(rankOf(caller, nodes).slice(0, 20)));
    expect(connectedTo(caller).sort()).toEqual([...counts.keys()].sort());
    expect(nodes.filter(({ status }) => status.peers.length > 0)).toHaveLength(20);
  });

  it('has sessions with all of them when it is told so', async () => {
    await serveMany(30);
    for (const subsetSize of [0, Infinity]) {
      const caller = await callerOf(30, { subsetSize });
      await whoAnswers(caller, 120);
      expect(connectedTo(caller)).toHaveLength(30);
    }
  });

  it('keeps channels to all nodes of the services that it connects to, and calls all of them', async () => {
    await serveMany(30);
    const caller = mesh.node({ connectTo: ['work'], subsetSize: 5, picker: roundRobin });
    await caller.connect();
    await eventually('all are connected', () => connectedTo(caller).length === 30);
    expect((await whoAnswers(caller, 60)).size).toBe(30);
  });

  it('takes the next in rank for a member that leaves, and keeps the others', async () => {
    const nodes = await serveMany(30);
    const caller = await callerOf(30, { subsetSize: 5 });
    await whoAnswers(caller, 25);
    const heard: string[] = [];
    caller.on('peerConnected', ({ nodeId }) => heard.push(`came ${String(nodeId)}`));
    caller.on('peerLost', ({ nodeId }) => heard.push(`went ${String(nodeId)}`));
    const order = rankOf(caller, nodes);
    await order[1]?.close();
    await whoAnswers(caller, 25);
    expect(connectedTo(caller).sort()).toEqual(idsOf([order[0]!, ...order.slice(2, 6)]));
    expect(heard.sort()).toEqual([`came ${order[5]!.id}`, `went ${order[1]!.id}`]);
  });

  it('takes further nodes when no member can be reached', async () => {
    const [living] = await serveMany(1);
    const { record } = living!;
    const dead = Array.from({ length: 40 }, () => recordOf('work', 1));
    const registry = new StaticRegistry(...dead, record);
    const callers = Array.from({ length: 12 }, () => mesh.node({ registry, subsetSize: 3 }));
    // To one of a dozen it is far down the list.
    const places = callers.map((node) => rankOf(node, [...dead, record]).indexOf(record));
    const caller = callers[places.indexOf(Math.max(...places))]!;
    await caller.discover('work');
    expect(await callOf(caller, WORK, 'who')).toBe(living!.id);
  });

  it('waits for one that it cannot reach as before, when there are no more than the subset has', async () => {
    const caller = mesh.node({ registry: new StaticRegistry(recordOf('work', 1)) });
    const failure = await failureOf(callOf(caller, WORK, 'who', 1, { timeoutMs: 200 }));
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('is given to a node that joins only when it is wanted more, and then by one member', async () => {
    const nodes = await serveMany(12);
    const registry = new StaticRegistry();
    const caller = mesh.node({ registry, subsetSize: 4, picker: roundRobin });
    const order = rankOf(caller, nodes);
    const [best, ...others] = order;
    registry.set(...others.map(({ record }) => record));
    await whoAnswers(caller, 16);
    expect(connectedTo(caller).sort()).toEqual(idsOf(others.slice(0, 4)));
    registry.set(...order.map(({ record }) => record));
    const counts = await whoAnswers(caller, 16);
    expect([...counts.keys()].sort()).toEqual(idsOf([best!, ...others.slice(0, 3)]));
    registry.set(...order.map(({ record }) => record), recordOf('work', 1, leastWanted(caller, order)));
    expect([...(await whoAnswers(caller, 16)).keys()].sort()).toEqual([...counts.keys()].sort());
  });
});

/** The id of a node that the caller wants less than all the others. */
function leastWanted(caller: MeshNode, nodes: readonly MeshNode[]): string {
  for (;;) {
    const { id } = recordOf('work', 1);
    if (rankOf(caller, [...nodes, { id }]).at(-1)?.id === id) return id;
  }
}

describe('the nodes outside of the subset', () => {
  const event = { pattern: 'note', route: 'note', data: 1, metadata: undefined, timeoutMs: 5_000 };

  it('get the calls that are meant for them, and those with their key', async () => {
    const nodes = await serveMany(20);
    const caller = await callerOf(20, { subsetSize: 3 });
    for (const { id } of nodes) expect(await callOf(caller, { ...WORK, nodeId: id }, 'who')).toBe(id);
    const other = await callerOf(20, { subsetSize: 3 });
    const places = new Set<unknown>();
    for (let n = 0; n < 60; n += 1) {
      const target = { ...WORK, key: `customer-${n}` };
      const place = await callOf(caller, target, 'who');
      expect(await callOf(other, target, 'who')).toBe(place);
      places.add(place);
    }
    expect(places.size).toBeGreaterThan(12);
  });

  it('get every broadcast, and what is published when they alone take it', async () => {
    const heard: string[] = [];
    const nodes = await serveMany(12, { event: ({ data }) => heard.push(String(data)) });
    const caller = await callerOf(12, { subsetSize: 2 });
    expect((await caller.broadcast('work', event)).sort()).toEqual(idsOf(nodes));
    await eventually('each has it', () => heard.length === 12);
  });

  it('get what is published when they alone take it', async () => {
    const heard: number[] = [];
    const plain = await serveMany(12);
    const caller = await callerOf(12, { subsetSize: 2 });
    const taker = mesh.node({ service: 'work', nodeId: leastWanted(caller, plain) });
    taker.setHandlers({
      onRequest: (call) => call.complete(),
      onEvent: () => heard.push(1),
      hasChannel: () => false,
      onChannel: () => undefined,
      announced: { events: ['note'], idempotent: [] },
    });
    await taker.listen();
    await taker.announce();
    await eventually('it is found', async () => (await caller.discover('work')).length === 13);
    await eventually('it takes events', async () => (await caller.publish(event)).length === 1);
    await eventually('it has it', () => heard.length > 0);
    expect(connectedTo(caller)).toEqual([taker.id]);
  });

  it('lose their session when nothing has used it for a while, and get it again with the next call', async () => {
    const nodes = await serveMany(12);
    const caller = await callerOf(12, { subsetSize: 3, idleSessionMs: 100 });
    const met = new Set<unknown>();
    caller.on('peerConnected', ({ nodeId }) => met.add(nodeId));
    await whoAnswers(caller, 12);
    for (const { id } of nodes) await callOf(caller, { ...WORK, nodeId: id }, 'who');
    expect(met.size).toBe(12);
    const members = idsOf(rankOf(caller, nodes).slice(0, 3));
    await eventually('only the members are left', () => connectedTo(caller).length === 3);
    expect(connectedTo(caller).sort()).toEqual(members);
    for (const { id } of nodes) expect(await callOf(caller, { ...WORK, nodeId: id }, 'who')).toBe(id);
    await pause(300); // The members are as idle as the others.
    expect(connectedTo(caller).sort()).toEqual(members);
  });

  it('keep their session while a call or a raw channel is open, or calls follow each other', async () => {
    const open: InboundCall[] = [];
    const nodes = await serveMany(6, {
      calls: { hold: (_: unknown, call: InboundCall) => void open.push(call) },
      channels: { chat: () => undefined },
    });
    const caller = await callerOf(6, { subsetSize: 2, idleSessionMs: 250 });
    const [holding, chatting, busy] = rankOf(caller, nodes).slice(2);
    const held = callOf(caller, { ...WORK, nodeId: holding!.id }, 'hold');
    const { channel } = await caller.openChannel(
      { ...WORK, nodeId: chatting!.id },
      { name: 'chat', metadata: undefined, sessionId: undefined, timeoutMs: 5_000 },
    );
    const lost: unknown[] = [];
    caller.on('peerLost', ({ nodeId }) => lost.push(nodeId));
    const began = performance.now();
    // As long as three looks at what is idle take.
    while (performance.now() - began < 800) await callOf(caller, { ...WORK, nodeId: busy!.id }, 'who');
    expect(connectedTo(caller).sort()).toEqual(idsOf([holding!, chatting!, busy!]));
    expect(lost).toEqual([]);
    open[0]?.respond('held');
    expect(await held).toBe('held');
    channel.close();
    await eventually('none is left', () => connectedTo(caller).length === 0);
  });

  it('keep their session for ever with idleSessionMs: 0', async () => {
    const nodes = await serveMany(4);
    const caller = await callerOf(4, { subsetSize: 1, idleSessionMs: 0 });
    for (const { id } of nodes) await callOf(caller, { ...WORK, nodeId: id }, 'who');
    await pause(150); // Nothing is to happen.
    expect(connectedTo(caller)).toHaveLength(4);
  });

  it('are not dialled again by themselves when they could not be reached, but when somebody asks for them', async () => {
    const [living] = await serveMany(1);
    const registry = new StaticRegistry();
    const caller = mesh.node({ registry, subsetSize: 1 });
    const dead = { ...recordOf('work', 1), id: leastWanted(caller, [living!]) };
    registry.set(living!.record, dead);
    expect(await callOf(caller, WORK, 'who')).toBe(living!.id);
    const heard: unknown[] = [];
    caller.on('peerUnreachable', ({ nodeId }) => heard.push(nodeId));
    await failureOf(callOf(caller, { ...WORK, nodeId: dead.id }, 'who', 1, { timeoutMs: 50 }));
    await eventually('it was tried', () => heard.length === 1);
    await eventually('it is left alone', () => stateOf(caller, dead.id) === 'idle');
    await pause(150); // Longer than any pause between two attempts.
    expect(stateOf(caller, dead.id)).toBe('idle');
    const failure = await failureOf(
      callOf(caller, { ...WORK, nodeId: dead.id }, 'who', 1, { timeoutMs: 50 }),
    );
    expect(failure.message).toContain('127.0.0.1:1');
  });

  it('take the place of the members that cannot be reached, until these are back', async () => {
    const nodes = await serveMany(4);
    const registry = new StaticRegistry();
    const caller = mesh.node({ registry, subsetSize: 2, idleSessionMs: 60, picker: roundRobin });
    const [first, second, third] = rankOf(caller, nodes);
    const records = nodes.map(({ record }) => record);
    const elsewhere = records.map((record) => (record.id === second!.id ? { ...record, port: 1 } : record));
    registry.set(...elsewhere);
    await whoAnswers(caller, 12);
    expect(connectedTo(caller).sort()).toEqual(idsOf([first!, third!]));
    registry.set(...records);
    expect([...(await whoAnswers(caller, 12)).keys()]).toContain(second!.id);
    await eventually('the third is left', () => connectedTo(caller).length === 2);
    expect(connectedTo(caller).sort()).toEqual(idsOf([first!, second!]));
  });
});

function stateOf(caller: MeshNode, id: string): string | undefined {
  return caller.status.peers.find(({ nodeId }) => nodeId === id)?.state;
}

describe('workers without a port', () => {
  it('are all called, beside the subset of those that are listed', async () => {
    const gateway = await mesh.serve('gateway', {}, { subsetSize: 2, picker: roundRobin });
    const names = Array.from({ length: 6 }, (_, at) => `worker ${at}`);
    for (const name of names) {
      await mesh.serve('work', { calls: { who: () => name } }, { listen: false, connectTo: ['gateway'] });
    }
    await callOf(gateway, WORK, 'who');
    await eventually(
      'all are there',
      () => gateway.status.peers.filter(({ service }) => service === 'work').length === 6,
    );
    expect([...(await whoAnswers(gateway, 12)).keys()].sort()).toEqual(names);
  });
});

describe('the option subsetSize', () => {
  it.each([-1, 1.5, NaN, '20', null])('refuses %p, and says what it takes', (subsetSize) => {
    expect(() => mesh.node({ subsetSize: subsetSize as number })).toThrow(
      /subsetSize must be a whole number of nodes, or 0 \(or Infinity\) for all of them, not /,
    );
  });
});
