/** Peers that die, freeze, come back or move: what was under way ends at once and says what became of it; the rest goes on. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { TestMesh, type MeshTestOptions } from '../../lib/testing/test-mesh.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { ChildPeer } from '../support/child-peer.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, handlersOf, Mesh, recordOf, StaticRegistry } from '../support/mesh-fixture.js';
import { meshHeaders, RawServer } from '../support/raw-peer.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const MATH = { service: 'math' };
const QUIET = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};
const DOUBLE = { calls: { double: (n: number) => n * 2 } };

async function child(manner?: 'silent' | 'deaf'): Promise<ChildPeer> {
  return mesh.keep(await ChildPeer.start('math', manner));
}

describe('A peer that is killed', () => {
  it('fails all calls that are open at once, and says that they may have run', async () => {
    const peer = await child('silent');
    const caller = mesh.node({ registry: new StaticRegistry(peer.record) });
    const failing = Array.from({ length: 200 }, (_, n) =>
      failureOf(callOf(caller, MATH, 'any', n, { timeoutMs: 20_000 })),
    );
    const turns = new Set<number>();
    let turn = 0;
    const count = setInterval(() => (turn += 1), 0);
    for (const one of failing) void one.then(() => turns.add(turn));
    await eventually(
      'the calls are open',
      () => caller['directories'].of('math').known[0]?.channel?.openCalls === 200,
    );
    await pause(20); // They are on their way.
    peer.kill();
    const errors = await within(Promise.all(failing), 2_000);
    clearInterval(count);
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'UNAVAILABLE',
        delivery: 'unknown',
        service: 'math',
        nodeId: peer.record.id,
      });
    }
    expect(turns.size).toBe(1);
  });

  it('fails the calls that had not left yet as not sent', async () => {
    const peer = await child('deaf');
    const caller = mesh.node({ registry: new StaticRegistry(peer.record), largeMessageBytes: 0 });
    const big = 'x'.repeat(1024 * 1024);
    const failing: Promise<{ delivery: string }>[] = [];
    // Its window is 64 KB: these fill what HTTP/2 takes, and the rest waits here.
    for (let n = 0; n < 20; n += 1) {
      failing.push(
        failureOf(callOf(caller, MATH, 'any', big, { timeoutMs: 20_000, retry: { attempts: 1 } })),
      );
      await pause(5); // A turn for each, so that each is written as soon as it can be.
    }
    peer.kill();
    const states = (await within(Promise.all(failing), 2_000)).map(({ delivery }) => delivery);
    expect(states[0]).toBe('unknown');
    expect(states.at(-1)).toBe('not-sent');
    // In order: once one was not sent, none after it was.
    expect(states.lastIndexOf('unknown')).toBeLessThan(states.indexOf('not-sent'));
  });

  it('is not called any more: the next call goes elsewhere', async () => {
    const peer = await child();
    const other = await mesh.serve('math', { calls: { any: () => 'other' } });
    const registry = new StaticRegistry(peer.record, other.record);
    const caller = mesh.node({ registry, picker: roundRobin });
    await eventually('both are reached', async () => {
      const got = [await callOf(caller, MATH, 'any', 'child'), await callOf(caller, MATH, 'any', 'child')];
      return got.includes('child') && got.includes('other');
    });
    peer.kill();
    const directory = caller['directories'].of('math');
    await eventually('it was noticed', () => directory.known.some((node) => node.channel === undefined));
    for (let n = 0; n < 20; n += 1)
      expect(await callOf(caller, MATH, 'any', 'child', { timeoutMs: 500 })).toBe('other');
  });
});

describe('A peer that freezes', () => {
  it('is noticed by keep-alive within its interval and timeout, and the error names it', async () => {
    const peer = await child();
    const caller = mesh.node({
      registry: new StaticRegistry(peer.record),
      keepAlive: { intervalMs: 100, timeoutMs: 150 },
    });
    expect(await callOf(caller, MATH, 'any', 5)).toBe(5);
    peer.freeze();
    const began = performance.now();
    const error = await failureOf(callOf(caller, MATH, 'any', 6, { timeoutMs: 20_000 }));
    expect(performance.now() - began).toBeLessThan(100 + 150 + 1_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    expect(error.rawMessage).toContain('keepAlive.timeoutMs');
  });
});

describe('A peer that does not read', () => {
  const big = 'x'.repeat(1024 * 1024);
  let links: TestMesh;
  beforeEach(() => {
    links = new TestMesh({ logger: QUIET });
  });
  afterEach(() => links.close());

  /** A caller whose calls are answered until the link to `math` stalls. */
  async function callerOf(limits: MeshTestOptions['limits']): Promise<MeshNode> {
    await links.service('math', { any: (data: unknown) => data });
    const caller = links.node({ service: 'caller', limits });
    expect(await callOf(caller, MATH, 'any', 1)).toBe(1);
    links.oneWay('caller', 'math').slow(0);
    return caller;
  }

  it('holds what waits for it below limits.maxPendingBytes: further calls fail here, not sent', async () => {
    const caller = await callerOf({ maxPendingBytes: 4 * 1024 * 1024 });
    const failing: Promise<{ code: string; delivery: string }>[] = [];
    for (let n = 0; n < 12; n += 1) {
      failing.push(failureOf(callOf(caller, MATH, 'any', big, { timeoutMs: 300 })));
      await nextTurn(); // So that each is written as soon as it can be.
    }
    const errors = await Promise.all(failing);
    expect(errors.at(-1)).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'not-sent' });
    // A large message that has not left as a whole cannot have been handled.
    expect(errors[0]).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'not-sent' });
  });

  it('cannot keep this side from closing', async () => {
    const caller = await callerOf({ maxPendingBytes: 1024 * 1024 });
    const failing = Array.from({ length: 3 }, () => failureOf(callOf(caller, MATH, 'any', big)));
    await nextTurn();
    await within(caller.close(), 4_000, 'close()');
    await Promise.all(failing);
  });
});

describe('A peer that comes back', () => {
  it('at the same address and under the same id is called again', async () => {
    const first = mesh.node({ service: 'math' });
    first.setHandlers(handlersOf(DOUBLE));
    await first.listen();
    const { record } = first;
    const caller = mesh.node({ registry: new StaticRegistry(record) });
    expect(await callOf(caller, MATH, 'double', 1)).toBe(2);
    await first.close();
    const again = mesh.node({ service: 'math', nodeId: record.id, port: record.port });
    again.setHandlers(handlersOf(DOUBLE));
    await again.listen();
    expect(await callOf(caller, MATH, 'double', 2)).toBe(4);
  });

  it('at another address under the same id is called there, and open calls end where they are', async () => {
    const open: InboundCall[] = [];
    const hold = { calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) } };
    const first = mesh.node({ service: 'math' });
    first.setHandlers(handlersOf(hold));
    await first.listen();
    const registry = new StaticRegistry(first.record);
    const caller = mesh.node({ registry });
    const waiting = callOf(caller, MATH, 'wait');
    await eventually('the handler runs', () => open.length === 1);
    const second = mesh.node({ service: 'math', nodeId: first.id });
    second.setHandlers(handlersOf(DOUBLE));
    await second.listen();
    registry.set(second.record);
    expect(await callOf(caller, MATH, 'double', 2)).toBe(4);
    open[0]?.respond('in peace');
    expect(await waiting).toBe('in peace');
    await eventually('the old connection ends', async () => (await connectionsOf(first)) === 0);
  });

  it('is dialled in the background with pauses, and not by every call', async () => {
    const nodeId = '00000000-0000-4000-8000-000000000001';
    let sessions = 0;
    const server = mesh.keep(
      await RawServer.start((_, raw) => {
        sessions += 1;
        raw.session?.destroy();
      }),
    );
    const caller = mesh.node({
      registry: new StaticRegistry(recordOf('math', server.port, nodeId)),
      reconnect: { baseMs: 400, maxMs: 400 },
    });
    await Promise.all(
      Array.from({ length: 100 }, () => failureOf(callOf(caller, MATH, 'any', 1, { timeoutMs: 300 }))),
    );
    expect(sessions).toBeLessThan(10);
    expect(meshHeaders(nodeId)).toBeDefined();
  });
});

describe('A peer that the registry loses', () => {
  it('goes on being called while its connection lives, and is forgotten after that', async () => {
    const lost = new TestMesh({ logger: QUIET });
    const callee = await lost.service('math', DOUBLE.calls);
    const caller = lost.node({ service: 'caller' });
    await callOf(caller, MATH, 'double', 1);
    await lost.hide('math');
    await eventually('it is not listed', async () => (await caller.discover('math')).length === 0);
    expect(await callOf(caller, MATH, 'double', 2)).toBe(4);
    await callee.close();
    const error = await failureOf(callOf(caller, MATH, 'double', 2, { timeoutMs: 100 }));
    expect(error.rawMessage).toContain("no node of service 'math' is listed");
    await lost.close();
  });
});

function connectionsOf(node: {
  httpServer: { getConnections(done: (error: Error | null, count: number) => void): void } | undefined;
}) {
  return new Promise<number>((resolve) => {
    if (node.httpServer === undefined) resolve(0);
    else node.httpServer.getConnections((_, count) => resolve(count));
  });
}
