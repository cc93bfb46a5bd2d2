/** Events between nodes: who gets them, what an acknowledgement says, and where those went that nobody got. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { EventStatus } from '../../lib/node/event-counts.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { OutboundEvent } from '../../lib/node/outbound-events.js';
import type { InboundEvent } from '../../lib/transport/packet-channel.js';
import { ChildPeer } from '../support/child-peer.js';
import { eventually, pause, within } from '../support/eventually.js';
import { failureOf, handlersOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';
import { meshHeaders, RawClient, RawServer } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const USERS = { service: 'users' };

function eventOf(route: string, extra: Partial<OutboundEvent> = {}): OutboundEvent {
  return { pattern: route, route, data: 1, metadata: undefined, timeoutMs: 2_000, ...extra };
}

interface Taker {
  readonly node: MeshNode;
  readonly got: InboundEvent[];
}

/** A node that announces event patterns; events with an acknowledgement for `handled` are left to the test. */
async function taker(service: string, events: string[], options: Partial<MeshOptions> = {}): Promise<Taker> {
  const got: InboundEvent[] = [];
  const node = mesh.node({ service, ...options });
  node.setHandlers({
    ...handlersOf({ event: (event) => void got.push(event) }),
    announced: { events, idempotent: [] },
  });
  await node.listen();
  await node.announce();
  return { node, got };
}

/** The counts of a node that are not 0. */
const counted = (node: MeshNode): Partial<EventStatus> =>
  Object.fromEntries(Object.entries(node.status.events).filter(([, count]) => count > 0));

describe('An event', () => {
  it('that is emitted reaches exactly one node of the service', async () => {
    const takers = [await taker('users', []), await taker('users', []), await taker('users', [])];
    const caller = mesh.node();
    await eventually('all are known', async () => (await caller.discover('users')).length === 3);
    for (let n = 0; n < 30; n += 1) await caller.emit(USERS, eventOf('e', { ack: 'received' }));
    expect(takers.map(({ got }) => got.length).reduce((sum, count) => sum + count)).toBe(30);
    for (const { got } of takers) expect(got.length).toBeGreaterThan(0);
    expect(counted(caller)).toEqual({ sent: 30, acknowledged: 30 });
  });

  it('that asks for it is acknowledged once it was given to its handlers, which may go on', async () => {
    const { node, got } = await taker('users', []);
    const caller = mesh.node();
    await caller.emit(USERS, eventOf('e', { ack: 'received', metadata: { a: 'b' } }));
    expect(got).toMatchObject([{ pattern: 'e', data: 1, metadata: { a: 'b' } }]);
    expect(counted(caller)).toEqual({ sent: 1, acknowledged: 1 });
    expect(counted(node)).toEqual({ received: 1 });
  });

  it('whose handling is waited for is acknowledged when that has ended', async () => {
    const { got } = await taker('users', []);
    const caller = mesh.node();
    let done = false;
    const emitted = caller.emit(USERS, eventOf('e', { ack: 'handled' })).then(() => (done = true));
    await eventually('it has come', () => got.length === 1);
    await pause(20); // Nothing acknowledges it meanwhile.
    expect(done).toBe(false);
    got[0]?.acknowledge?.call.complete();
    await emitted;
  });

  it('whose handler fails rejects with what the handler said, and is not lost', async () => {
    const { got } = await taker('users', []);
    const caller = mesh.node();
    const emitted = caller.emit(USERS, eventOf('e', { ack: 'handled' })).catch((error: unknown) => error);
    await eventually('it has come', () => got.length === 1);
    got[0]?.acknowledge?.call.fail({ status: 'error', message: 'boom' });
    expect(await emitted).toEqual({ status: 'error', message: 'boom' });
    expect(counted(caller)).toEqual({ sent: 1 });
  });

  it('that is not acknowledged in time is lost, and its handler is told', async () => {
    const { got } = await taker('users', []);
    const caller = mesh.node();
    await caller.emit(USERS, eventOf('e'));
    const error = await failureOf(caller.emit(USERS, eventOf('e', { ack: 'handled', timeoutMs: 50 })));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'unknown', pattern: 'e' });
    await eventually('the handler is told', () => got[1]?.acknowledge?.call.signal.aborted === true);
    expect(got[1]?.acknowledge?.call.timeoutMs).toBeLessThanOrEqual(50);
    expect(counted(caller)).toEqual({ sent: 2, lost: 1 });
    expect(caller['deadlines'].size).toBe(0);
  });

  it('that is cancelled ends at once, cancels its handling, and is not counted as lost', async () => {
    const { node, got } = await taker('users', []);
    const caller = mesh.node();
    const controller = new AbortController();
    const failing = failureOf(
      caller.emit(USERS, eventOf('e', { ack: 'handled', signal: controller.signal })),
    );
    await eventually('it has come', () => got.length === 1);
    controller.abort();
    expect(await failing).toMatchObject({ code: 'CANCELLED', delivery: 'unknown' });
    await eventually('the handler is told', () => got[0]?.acknowledge?.call.signal.aborted === true);
    const early = caller.emit(USERS, eventOf('e', { ack: 'handled', signal: controller.signal }));
    expect(await failureOf(early)).toMatchObject({ code: 'CANCELLED', delivery: 'not-sent' });
    expect(counted(caller)).toEqual({ sent: 1 });
    expect(counted(node)).toEqual({ received: 1 });
  });

  it('is not lost in a drain: the node waits until it is handled', async () => {
    const { node, got } = await taker('users', []);
    const caller = mesh.node();
    const emitted = caller.emit(USERS, eventOf('e', { ack: 'handled' }));
    await eventually('it has come', () => got.length === 1);
    const stopped = node.stopServing();
    await pause(30); // The drain has begun, and waits.
    got[0]?.acknowledge?.call.complete();
    await Promise.all([emitted, stopped]);
  });

  it('whose node is killed before it has handled it fails at once, and says that it may have run', async () => {
    const peer = mesh.keep(await ChildPeer.start('users', 'silent'));
    const caller = mesh.node({ registry: new StaticRegistry(peer.record) });
    const failing = failureOf(caller.emit(USERS, eventOf('e', { ack: 'handled', timeoutMs: 20_000 })));
    await eventually(
      'it is on its way',
      () => caller['directories'].of('users').known[0]?.channel?.openCalls === 1,
    );
    await pause(50); // It has left.
    peer.kill();
    expect(await within(failing, 2_000)).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'unknown',
      nodeId: peer.record.id,
    });
    expect(counted(caller)).toEqual({ sent: 1, lost: 1 });
  });

  it('for a node without any handlers says that nobody takes it', async () => {
    const node = mesh.node({ service: 'users' });
    await node.listen();
    await node.announce();
    const caller = mesh.node();
    const error = await failureOf(caller.emit(USERS, eventOf('e', { ack: 'received' })));
    expect(error).toMatchObject({ code: 'UNIMPLEMENTED', delivery: 'refused' });
    expect(counted(caller)).toEqual({ sent: 1, unroutable: 1 });
    expect(counted(node)).toEqual({ received: 1, unhandled: 1 });
  });

  it('for a service that has no node is unroutable, for one whose nodes cannot be reached it is lost', async () => {
    const caller = mesh.node();
    expect(await failureOf(caller.emit(USERS, eventOf('e', { timeoutMs: 50 })))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
    });
    expect(counted(caller)).toEqual({ unroutable: 1 });
    const dead = mesh.node({ registry: new StaticRegistry(recordOf('users', 1)) });
    await failureOf(dead.emit(USERS, eventOf('e', { timeoutMs: 50, ack: 'handled' })));
    expect(counted(dead)).toEqual({ lost: 1 });
  });

  it.each([
    ['in the queue of its channel', 0, (lost: number) => `${lost} event(s) for 'users'`],
    ['on a stream of its own', 1_000, () => "the event 'e' for 'users'"],
  ])(
    'that is still %s when its channel breaks is lost, and that is said',
    async (_, largeMessageBytes, said) => {
      const peer = mesh.keep(await ChildPeer.start('users', 'deaf'));
      const caller = mesh.node({ registry: new StaticRegistry(peer.record), largeMessageBytes });
      const big = 'x'.repeat(1024 * 1024);
      // Its window is 64 KB: these fill what HTTP/2 takes, and the rest waits here.
      for (let n = 0; n < 10; n += 1) {
        await caller.emit(USERS, eventOf('e', { data: big }));
        await pause(5); // A turn for each, so that each is written as soon as it can be.
      }
      expect(counted(caller)).toEqual({ sent: 10 });
      peer.kill();
      await eventually('the loss is counted', () => caller.status.events.lost > 0);
      const { sent, lost } = caller.status.events;
      expect(sent + lost).toBe(10);
      expect(mesh.warnings.join()).toContain(said(lost));
    },
  );

  it('has its id first on the wire, then what it is, and asks for no more than was wished', async () => {
    const id = randomUUID();
    const server = mesh.keep(
      await RawServer.start((_, raw) => raw.respond({ ':status': 200, ...meshHeaders(id) })),
    );
    const caller = mesh.node({ registry: new StaticRegistry(recordOf('users', server.port, id)) });
    const emitted = [
      caller.emit(USERS, eventOf('a', { ack: 'received', timeoutMs: 0 })),
      caller.emit(USERS, eventOf('b', { ack: 'handled', timeoutMs: 0, metadata: { m: '1' } })),
    ];
    const stream = await server.stream();
    await eventually('both have come', () => stream.received.length === 2);
    const text = stream.received.map((packet) => JSON.stringify(packet));
    const ids = stream.received.map((packet) => (packet as { id: number }).id);
    expect(text).toEqual([
      `{"id":${ids[0]},"event":true,"pattern":"a","data":1}`,
      `{"id":${ids[1]},"event":true,"pattern":"b","data":1,"metadata":{"m":"1"},"ack":"handled"}`,
    ]);
    for (const packetId of ids) stream.send({ id: packetId, isDisposed: true });
    await Promise.all(emitted);
  });
});

describe('An acknowledgement', () => {
  it('of a peer that asks for one with an unknown word means that the event was received', async () => {
    const { node } = await taker('users', []);
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const stream = await client.channel(meshHeaders(randomUUID()));
    stream.send({ id: 7, event: true, pattern: 'e', data: 1, ack: 'tomorrow' });
    expect(await stream.answer(7)).toEqual({ id: 7, isDisposed: true });
  });

  it('is refused when its time is over already, and while an id is in use it is not given twice', async () => {
    const { node, got } = await taker('users', []);
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const stream = await client.channel(meshHeaders(randomUUID()));
    stream.send({ id: 1, event: true, pattern: 'e', timeout: 0 });
    expect(await stream.answer(1)).toMatchObject({
      err: { code: 'DEADLINE_EXCEEDED', delivery: 'refused' },
      isDisposed: true,
    });
    stream.send({ id: 2, event: true, pattern: 'e', ack: 'handled' });
    stream.send({ id: 2, event: true, pattern: 'again', ack: 'handled' });
    await eventually('the first has come', () => got.length === 1);
    got[0]?.acknowledge?.call.complete();
    expect(await stream.answer(2)).toEqual({ id: 2, isDisposed: true });
    expect(got).toHaveLength(1);
  });

  it('counts as an open call for the limits', async () => {
    const { node, got } = await taker('users', [], { limits: { maxOpenCalls: 1 } });
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const stream = await client.channel(meshHeaders(randomUUID()));
    stream.send({ id: 1, event: true, pattern: 'e', ack: 'handled' });
    stream.send({ id: 2, event: true, pattern: 'e', ack: 'handled' });
    expect(await stream.answer(2)).toMatchObject({
      err: { code: 'RESOURCE_EXHAUSTED', delivery: 'refused' },
    });
    got[0]?.acknowledge?.call.complete();
  });

  it('is never asked of a part 1 peer, whichever side dialled', async () => {
    const server = mesh.keep(await RawServer.start());
    const caller = mesh.node({ registry: new StaticRegistry(recordOf('users', server.port)) });
    await caller.emit(USERS, eventOf('plain'));
    for (const ack of ['received', 'handled'] as const) {
      const error = await failureOf(caller.emit(USERS, eventOf('e', { ack })));
      expect(error).toMatchObject({ code: 'UNIMPLEMENTED', delivery: 'refused', service: 'users' });
      expect(await failureOf(caller.broadcast('users', eventOf('e', { ack })))).toMatchObject({
        code: 'UNIMPLEMENTED',
      });
    }
    await caller.emit(USERS, eventOf('last'));
    const stream = await server.stream();
    await eventually('the plain ones have come', () => stream.received.length === 2);
    expect(stream.received).toEqual([
      { pattern: 'plain', data: 1 },
      { pattern: 'last', data: 1 },
    ]);

    const { node } = await taker('users', []);
    const client = mesh.keep(await RawClient.dial(node.record.port));
    const peer = await client.channel();
    await eventually('it is known', () => node['inbound'].channels.size === 1);
    const [channel] = node['inbound'].channels;
    if (channel === undefined) throw new Error('there is no channel');
    expect(await failureOf(node.emit({ channel }, eventOf('e', { ack: 'handled' })))).toMatchObject({
      code: 'UNIMPLEMENTED',
      delivery: 'refused',
    });
    await pause(20); // Nothing is sent meanwhile.
    expect(peer.received).toEqual([]);
  });
});

describe('A broadcast', () => {
  it('with an acknowledgement says which nodes gave it, and logs the others', async () => {
    const [good, bad, late] = [await taker('users', []), await taker('users', []), await taker('users', [])];
    const caller = mesh.node();
    await eventually('all are known', async () => (await caller.discover('users')).length === 3);
    const sent = caller.broadcast('users', eventOf('e', { ack: 'handled', timeoutMs: 200 }));
    await eventually('all have it', () => [good, bad, late].every(({ got }) => got.length === 1));
    good.got[0]?.acknowledge?.call.complete();
    bad.got[0]?.acknowledge?.call.fail({ status: 'error', message: 'boom' });
    expect(await sent).toEqual([good.node.id]);
    expect(counted(caller)).toEqual({ sent: 3, acknowledged: 1, lost: 1 });
    const warnings = mesh.warnings.join('\n');
    expect(warnings).toContain(
      `event 'e' did not reach node ${late.node.id} of 'users': [DEADLINE_EXCEEDED]`,
    );
    expect(warnings).toContain(`event 'e' failed in its handler: {"status":"error","message":"boom"}`);
  });

  it('that no node could be given rejects with the reason', async () => {
    const caller = mesh.node({ registry: new StaticRegistry(recordOf('users', 1), recordOf('users', 2)) });
    const error = await failureOf(caller.broadcast('users', eventOf('e', { timeoutMs: 500 })));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent', service: 'users' });
    expect(counted(caller)).toEqual({ lost: 2 });
  });

  it('is not held up by a node that cannot be reached', async () => {
    const registry = new StaticRegistry();
    const callee = await taker('users', [], { registry });
    registry.set(callee.node.record, recordOf('users', 1));
    const caller = mesh.node({ registry });
    await eventually('both are known', async () => (await caller.discover('users')).length === 2);
    expect(await caller.broadcast('users', eventOf('e', { timeoutMs: 0 }))).toEqual([callee.node.id]);
    expect(counted(caller)).toEqual({ sent: 1, lost: 1 });
  });
});

describe('A published event', () => {
  it('reaches one node of every service that announces a matching pattern, on a node that was never connected', async () => {
    const one = [await taker('mail', ['user.created']), await taker('mail', ['user.created'])];
    const two = await taker('audit', ['user.*']);
    const three = await taker('stats', ['>']);
    const other = await taker('orders', ['order.*', 'user']);
    const caller = mesh.node();
    const receipts = await caller.publish(eventOf('user.created', { ack: 'received' }));
    expect(receipts.map(({ service }) => service).toSorted()).toEqual(['audit', 'mail', 'stats']);
    for (const { service, nodeId } of receipts) {
      const nodes = [...one, two, three].filter(({ node }) => node.service === service);
      expect(nodes.map(({ node }) => node.id)).toContain(nodeId);
    }
    expect(one.flatMap(({ got }) => got).length).toBe(1);
    expect([two.got.length, three.got.length, other.got.length]).toEqual([1, 1, 0]);
    expect(counted(caller)).toEqual({ sent: 3, acknowledged: 3 });
  });

  it('takes its turn among the nodes of a service', async () => {
    const takers = [await taker('mail', ['e']), await taker('mail', ['e'])];
    const caller = mesh.node();
    await caller.publish(eventOf('e'));
    await eventually('both are known', async () => (await caller.discover('mail')).length === 2);
    for (let n = 0; n < 10; n += 1) await caller.publish(eventOf('e', { ack: 'received' }));
    for (const { got } of takers) expect(got.length).toBeGreaterThan(2);
  });

  it('goes only to nodes that announce it, when others of the service are older', async () => {
    const old = [await taker('mail', ['other']), await taker('mail', [])];
    const fresh = await taker('mail', ['e']);
    const caller = mesh.node();
    await caller.publish(eventOf('e'));
    await eventually('all are known', async () => (await caller.discover('mail')).length === 3);
    for (let n = 0; n < 10; n += 1) {
      expect(await caller.publish(eventOf('e', { ack: 'received' }))).toEqual([
        { service: 'mail', nodeId: fresh.node.id },
      ]);
    }
    expect(old.flatMap(({ got }) => got)).toEqual([]);
  });

  it('is for nobody when no service takes it: that is logged and counted, and no error', async () => {
    await taker('mail', ['e']);
    const caller = mesh.node();
    expect(await caller.publish(eventOf('other'))).toEqual([]);
    expect(counted(caller)).toEqual({ unroutable: 1 });
    expect(mesh.warnings.join()).toContain(`event 'other' was published for nobody`);
  });

  it('reaches a service that begins to take it while the publisher runs', async () => {
    const caller = mesh.node();
    expect(await caller.publish(eventOf('e'))).toEqual([]);
    const { node } = await taker('mail', ['e']);
    await eventually('it is seen', async () => (await caller.publish(eventOf('e')))[0]?.nodeId === node.id);
    await node.stopServing();
    await eventually('it is gone', async () => (await caller.publish(eventOf('e'))).length === 0);
  });

  it('that reaches some services says which, and logs those that it did not', async () => {
    const { node, got } = await taker('mail', ['e']);
    const slow = await taker('audit', ['e']);
    const caller = mesh.node();
    const published = caller.publish(eventOf('e', { ack: 'handled', timeoutMs: 300 }));
    await eventually('it has come', () => got.length === 1 && slow.got.length === 1);
    got[0]?.acknowledge?.call.complete();
    expect(await published).toEqual([{ service: 'mail', nodeId: node.id }]);
    expect(counted(caller)).toEqual({ sent: 2, acknowledged: 1, lost: 1 });
    expect(mesh.warnings.join()).toContain(`event 'e' did not reach node ${slow.node.id} of 'audit'`);
  });

  it('that reaches none of several services rejects', async () => {
    const takers = [await taker('mail', ['e']), await taker('audit', ['e'])];
    const caller = mesh.node();
    const published = caller.publish(eventOf('e', { ack: 'handled' })).catch((error: unknown) => error);
    await eventually('both have it', () => takers.every(({ got }) => got.length === 1));
    for (const { got } of takers) got[0]?.acknowledge?.call.fail('no');
    expect(await published).toBe('no');
  });

  it('waits for the first answer of the registry within its time, and says so when there is none', async () => {
    const caller = mesh.node({ registry: 'redis://127.0.0.1:1', registryTimeoutMs: 200 });
    const error = await failureOf(caller.publish(eventOf('e', { timeoutMs: 100 })));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent', pattern: 'e' });
    expect(error.message).toContain('has not said yet who takes events');
    const signal = AbortSignal.timeout(20);
    expect(await failureOf(caller.publish(eventOf('e', { signal })))).toMatchObject({ code: 'CANCELLED' });
    expect(counted(caller)).toEqual({ lost: 1 });
  });

  it('needs a registry that can say who takes events', async () => {
    const caller = mesh.node({ registry: new StaticRegistry() });
    for (let n = 0; n < 2; n += 1) {
      const error = await failureOf(caller.publish(eventOf('e')));
      expect(error).toMatchObject({ code: 'UNIMPLEMENTED', delivery: 'not-sent' });
      expect(error.message).toContain('watchSubscribers');
    }
  });

  it('ignores patterns of others that can match nothing', async () => {
    const { node } = await taker('mail', ['a.>.b', 'e']);
    const caller = mesh.node();
    expect(await caller.publish(eventOf('e'))).toEqual([{ service: 'mail', nodeId: node.id }]);
    expect(await caller.publish(eventOf('a.x.b'))).toEqual([]);
  });

  it('is not sent by a closed node', async () => {
    await taker('mail', ['e']);
    const caller = mesh.node();
    await caller.publish(eventOf('e'));
    await caller.close();
    expect(await failureOf(caller.publish(eventOf('e')))).toMatchObject({ code: 'UNAVAILABLE' });
  });
});
