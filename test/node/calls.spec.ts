/** Calls, events and channels between nodes: found, waited for, shared out, and told apart when they fail. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { PacketChannel } from '../../lib/transport/packet-channel.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { eventually, pause, within } from '../support/eventually.js';
import {
  callOf,
  failureOf,
  handlersOf,
  Mesh,
  recordOf,
  type Origin,
  StaticRegistry,
} from '../support/mesh-fixture.js';
import { RawServer } from '../support/raw-peer.js';
import { freePort } from '../support/redis-server.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const MATH = { service: 'math' };
const DOUBLE = { calls: { double: (n: number) => n * 2 } };

function eventOf(route: string, data: unknown, timeoutMs = 2_000) {
  return { pattern: route, route, data, metadata: undefined, timeoutMs };
}

function sessionsAt(node: MeshNode): Promise<number> {
  return new Promise((resolve, reject) => {
    node.httpServer?.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

describe('A call', () => {
  it('is answered by a node that the registry lists', async () => {
    await mesh.serve('math', DOUBLE);
    expect(await callOf(mesh.node(), MATH, 'double', 21)).toBe(42);
  });

  it('waits for a service that appears later', async () => {
    const calling = callOf(mesh.node(), MATH, 'double', 4);
    await pause(150); // The call finds nothing for a while.
    await mesh.serve('math', DOUBLE);
    expect(await within(calling, 2_000)).toBe(8);
  });

  it('carries data, metadata and what is left of its time to the handler', async () => {
    const calls: InboundCall[] = [];
    await mesh.serve('math', {
      calls: {
        look: (_: unknown, call: InboundCall) => {
          calls.push(call);
          return 'seen';
        },
      },
    });
    const caller = mesh.node();
    const metadata = { tenant: 'a' };
    const data = JSON.parse('{"__proto__":{"polluted":true},"text":"äß😀"}') as unknown;
    await callOf(caller, MATH, 'look', data, { timeoutMs: 1_000, metadata });
    await callOf(caller, MATH, 'look', data, { timeoutMs: 1_000, metadata });
    expect(calls[0]?.timeoutMs).toBeGreaterThan(0);
    // The first has waited for the connection; the second goes out at once.
    expect(calls[0]?.timeoutMs).toBeLessThanOrEqual(1_000);
    expect(calls[1]?.timeoutMs).toBe(1_000);
    expect(calls[1]?.metadata).toEqual(metadata);
    expect(JSON.stringify(calls[1]?.data)).toBe(JSON.stringify(data));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('of a pattern that nobody handles fails as the callee says, and nothing else does', async () => {
    await mesh.serve('math', DOUBLE);
    const caller = mesh.node();
    expect(await failureOf(callOf(caller, MATH, 'halve', 4))).toMatchObject({
      code: 'UNIMPLEMENTED',
      delivery: 'refused',
      service: 'math',
      pattern: 'halve',
    });
    expect(await callOf(caller, MATH, 'double', 1)).toBe(2);
  });

  it('to a node that has no handlers at all is refused', async () => {
    const node = mesh.node({ service: 'math' });
    await node.listen();
    await node.announce();
    expect(await failureOf(callOf(mesh.node(), MATH, 'double'))).toMatchObject({
      code: 'UNIMPLEMENTED',
      delivery: 'refused',
      rawMessage: "service 'math' answers no calls",
    });
  });

  it('to one node of a service goes to that one, and fails by name when it is not there', async () => {
    const who = (name: string) => ({ calls: { who: () => name } });
    const one = await mesh.serve('math', who('one'));
    await mesh.serve('math', who('two'));
    const caller = mesh.node();
    for (let at = 0; at < 5; at += 1)
      expect(await callOf(caller, { ...MATH, nodeId: one.id }, 'who')).toBe('one');
    const missing = '00000000-0000-4000-8000-000000000000';
    const error = await failureOf(
      callOf(caller, { ...MATH, nodeId: missing }, 'who', null, { timeoutMs: 60 }),
    );
    expect(error.rawMessage).toContain(`node ${missing} is not among the 2 known nodes of service 'math'`);
  });

  it('with data that cannot be written fails here, and the channel goes on', async () => {
    await mesh.serve('math', DOUBLE);
    const caller = mesh.node();
    expect(await failureOf(callOf(caller, MATH, 'double', 1n))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      delivery: 'not-sent',
    });
    expect(await callOf(caller, MATH, 'double', 1)).toBe(2);
  });

  it('with data nested 100,000 deep fails here, and a result like that fails its own call there', async () => {
    const depth = 100_000;
    const deep = JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown;
    await mesh.serve('math', {
      calls: {
        deep: (_: unknown, call: InboundCall) => {
          try {
            call.respond(deep);
          } catch (error) {
            call.fail(`cannot: ${String((error as { code?: unknown }).code)}`);
          }
          return undefined;
        },
        double: (n: number) => n * 2,
      },
    });
    const caller = mesh.node();
    expect(await failureOf(callOf(caller, MATH, 'deep', deep))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      delivery: 'not-sent',
    });
    await expect(callOf(caller, MATH, 'deep', 1)).rejects.toBe('cannot: INVALID_ARGUMENT');
    expect(await callOf(caller, MATH, 'double', 1)).toBe(2);
  });

  it('after close() fails at once', async () => {
    const caller = mesh.node();
    await caller.close();
    expect(await failureOf(callOf(caller, MATH, 'double', 1))).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
    });
  });
});

describe('A call whose time is over', () => {
  it('while it waits for a service says that none is listed, and where', async () => {
    const error = await failureOf(callOf(mesh.node(), MATH, 'double', 1, { timeoutMs: 80 }));
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'not-sent',
      service: 'math',
      pattern: 'double',
    });
    expect(error.rawMessage).toMatch(
      /^'double' could not be sent within 80 ms \(timeoutMs\): no node of service 'math' is listed in memory:/,
    );
  });

  it('while its node cannot be reached says which and why', async () => {
    const port = await freePort();
    const registry = new StaticRegistry(recordOf('math', port));
    const error = await failureOf(callOf(mesh.node({ registry }), MATH, 'double', 1, { timeoutMs: 150 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain("1 node(s) of service 'math' known, none could be reached: ");
    expect(error.rawMessage).toContain(`cannot connect to 127.0.0.1:${port}`);
  });

  it('while it is open fails with DEADLINE_EXCEEDED, and the handler is cancelled', async () => {
    const calls: InboundCall[] = [];
    await mesh.serve('math', { calls: { never: (_: unknown, call: InboundCall) => void calls.push(call) } });
    const caller = mesh.node();
    const error = await failureOf(callOf(caller, MATH, 'never', 1, { timeoutMs: 120 }));
    expect(error).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      delivery: 'unknown',
      service: 'math',
      pattern: 'never',
    });
    expect(error.rawMessage).toBe("'never' was not answered within 120 ms (timeoutMs): there was no answer");
    await eventually('the handler is cancelled', () => calls[0]?.signal.aborted);
    expect(calls[0]?.signal.reason).toMatchObject({ code: 'CANCELLED' });
  });

  it('leaves no deadline behind, nor does one that was answered', async () => {
    await mesh.serve('math', { calls: { ...DOUBLE.calls, never: () => undefined } });
    const caller = mesh.node();
    await Promise.all(Array.from({ length: 50 }, (_, at) => callOf(caller, MATH, 'double', at)));
    await failureOf(callOf(caller, MATH, 'never', 1, { timeoutMs: 50 }));
    expect(caller['deadlines'].size).toBe(0);
  });
});

describe('Calls over one channel', () => {
  it('in great number from both sides at once are all answered', async () => {
    const one = await mesh.serve('one', DOUBLE);
    const other = await mesh.serve('other', { calls: { triple: (n: number) => n * 3 } });
    await callOf(one, { service: 'other' }, 'triple', 1);
    const there = Array.from({ length: 3_000 }, (_, n) => callOf(one, { service: 'other' }, 'triple', n));
    const back = Array.from({ length: 3_000 }, (_, n) => callOf(other, { service: 'one' }, 'double', n));
    expect((await Promise.all(there)).every((value, n) => value === n * 3)).toBe(true);
    expect((await Promise.all(back)).every((value, n) => value === n * 2)).toBe(true);
  });

  it('share one session with events and raw channels, and serve the way back', async () => {
    const events: unknown[] = [];
    const callee = await mesh.serve('math', {
      ...DOUBLE,
      event: ({ data }) => events.push(data),
      channels: { echo: (channel) => void channel.next().then(({ value }) => channel.send(value)) },
    });
    const caller = await mesh.serve('caller', { calls: { back: () => 'from the caller' } });
    await Promise.all([callOf(caller, MATH, 'double', 1), callOf(caller, MATH, 'double', 2)]);
    await caller.emit(MATH, eventOf('noted', 7));
    const { channel } = await caller.openChannel(MATH, {
      name: 'echo',
      metadata: undefined,
      sessionId: undefined,
      timeoutMs: 1_000,
    });
    await channel.send('hello');
    expect(await channel.next()).toMatchObject({ value: 'hello' });
    await eventually('the event has come', () => events.length === 1);
    // The callee knows the caller by its registry too, but the channel stands already.
    expect(await callOf(callee, { service: 'caller' }, 'back')).toBe('from the caller');
    expect(await sessionsAt(callee)).toBe(1);
    expect(await sessionsAt(caller)).toBe(0);
    channel.close();
  });

  it('go back over a channel that was opened after the callee began to look for the caller', async () => {
    const callee = await mesh.serve('math', DOUBLE);
    await callee.discover('caller');
    const caller = await mesh.serve('caller', { calls: { back: () => 'here' } });
    await callOf(caller, MATH, 'double', 1);
    await eventually(
      'the callee knows the caller',
      async () => (await callee.discover('caller')).length === 1,
    );
    expect(await callOf(callee, { service: 'caller' }, 'back')).toBe('here');
    expect(await sessionsAt(caller)).toBe(0);
  });

  it('go back also to a caller that is in no registry', async () => {
    const answers: unknown[] = [];
    const callee: MeshNode = await mesh.serve('math', {
      calls: {
        ask: async (_: unknown, __: InboundCall, origin: Origin) => {
          const target = { channel: origin.channel as PacketChannel };
          answers.push(await callOf(callee, target, 'name'));
          return 'done';
        },
      },
    });
    const caller = mesh.node();
    caller.setHandlers(handlersOf({ calls: { name: () => 'a client' } }));
    expect(await callOf(caller, MATH, 'ask')).toBe('done');
    expect(answers).toEqual(['a client']);
  });
});

describe('Several nodes of a service', () => {
  it.each([2, 3])('get the same number of calls each: %i nodes', async (count) => {
    const counts = Array.from({ length: count }, () => 0);
    for (let at = 0; at < count; at += 1) {
      await mesh.serve('math', {
        calls: {
          count: () => {
            counts[at] = (counts[at] ?? 0) + 1;
            return true;
          },
        },
      });
    }
    const caller = mesh.node({ picker: roundRobin });
    // The first calls find some of the nodes still to be dialled, and go where it is quickest.
    await eventually('all are reached', async () => {
      await callOf(caller, MATH, 'count');
      return counts.every((calls) => calls > 0);
    });
    const before = [...counts];
    await Promise.all(Array.from({ length: 300 }, () => callOf(caller, MATH, 'count')));
    expect(counts.map((calls, at) => calls - (before[at] ?? 0))).toEqual(counts.map(() => 300 / count));
  });

  it('keep the calls with one key together', async () => {
    const names = ['one', 'two', 'three'];
    for (const name of names) await mesh.serve('math', { calls: { who: () => name } });
    const caller = mesh.node();
    const seen = new Set<unknown>();
    for (let at = 0; at < 30; at += 1) seen.add(await callOf(caller, { ...MATH, key: 'customer-7' }, 'who'));
    expect(seen.size).toBe(1);
  });

  it('all get an event that is broadcast', async () => {
    const got: string[] = [];
    const nodes: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      nodes.push((await mesh.serve('math', { event: () => got.push(name) })).id);
    }
    const caller = mesh.node();
    await eventually('all are known', async () => (await caller.discover('math')).length === 3);
    expect((await caller.broadcast('math', eventOf('all', 1))).toSorted()).toEqual(nodes.toSorted());
    await eventually('all have it', () => got.length === 3);
    expect(got.toSorted()).toEqual(['one', 'three', 'two']);
  });

  it('are called although one of them refuses connections', async () => {
    const dead = recordOf('math', await freePort());
    const callee = mesh.node({ service: 'math' });
    callee.setHandlers(handlersOf(DOUBLE));
    await callee.listen();
    const registry = new StaticRegistry(dead, callee.record);
    const caller = mesh.node({ registry });
    for (let n = 0; n < 50; n += 1)
      expect(await callOf(caller, MATH, 'double', n, { timeoutMs: 1_000 })).toBe(n * 2);
  });

  it('are called at once although one of them never answers', async () => {
    const silent = mesh.keep(await RawServer.start(() => undefined));
    const callee = mesh.node({ service: 'math' });
    callee.setHandlers(handlersOf(DOUBLE));
    await callee.listen();
    const registry = new StaticRegistry(recordOf('math', silent.port), callee.record);
    const caller = mesh.node({ registry, connectTimeoutMs: 800 });
    await callOf(caller, MATH, 'double', 1);
    const slow: number[] = [];
    // Over several rounds of dialling the silent one anew.
    for (let n = 0; n < 200; n += 1) {
      const began = performance.now();
      expect(await callOf(caller, MATH, 'double', n)).toBe(n * 2);
      slow.push(performance.now() - began);
      await pause(10);
    }
    expect(Math.max(...slow)).toBeLessThan(600);
  });
});

describe('A raw channel', () => {
  const request = (name: string | undefined, timeoutMs = 1_000) => ({
    name,
    metadata: { tenant: 'a' },
    sessionId: 'session-1',
    timeoutMs,
  });

  it('tells both sides what was said when it was opened', async () => {
    const openings: unknown[] = [];
    const callee = await mesh.serve('math', {
      channels: {
        'näme/1': (_, opening) => openings.push(opening),
        '': (_, opening) => openings.push(opening),
      },
    });
    const caller = mesh.node();
    const { opening } = await caller.openChannel(MATH, request('näme/1'));
    await caller.openChannel(MATH, request(undefined));
    expect(opening).toMatchObject({
      name: 'näme/1',
      sessionId: 'session-1',
      peer: { nodeId: callee.id, service: 'math' },
    });
    expect(openings).toMatchObject([
      {
        name: 'näme/1',
        sessionId: 'session-1',
        metadata: { tenant: 'a' },
        peer: { service: 'caller', nodeId: caller.id },
      },
      { name: undefined, sessionId: 'session-1' },
    ]);
  });

  it('of an unknown name is refused, and the error names it', async () => {
    await mesh.serve('math', DOUBLE);
    const caller = mesh.node();
    for (const [name, words] of [
      ['other', 'no raw channel named "other"'],
      [undefined, 'no default raw channel'],
    ] as const) {
      const error = await failureOf(caller.openChannel(MATH, request(name)));
      expect(error.delivery).toBe('refused');
      expect(error.rawMessage).toContain(words);
    }
  });

  it('to a service that is not there waits, then says so', async () => {
    const error = await failureOf(mesh.node().openChannel(MATH, request('x', 60)));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain(
      "'channel x' could not be sent within 60 ms (timeoutMs): no node of service 'math'",
    );
  });

  it('with headers that a peer cannot take fails alone, and calls on the same session go on', async () => {
    await mesh.serve('math', { ...DOUBLE, channels: { echo: () => undefined } });
    const caller = mesh.node();
    await callOf(caller, MATH, 'double', 1);
    const metadata = { large: 'a'.repeat(100_000) };
    const error = await failureOf(caller.openChannel(MATH, { ...request('echo'), metadata }));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'not-sent' });
    expect(
      await failureOf(caller.openChannel(MATH, { ...request('echo'), metadata: { Large: 'x' } })),
    ).toMatchObject({
      code: 'INVALID_ARGUMENT',
      delivery: 'not-sent',
    });
    expect(await callOf(caller, MATH, 'double', 1)).toBe(2);
  });

  it('goes to a node that is there when another one is not', async () => {
    const dead = recordOf('math', await freePort());
    const callee = mesh.node({ service: 'math' });
    callee.setHandlers(handlersOf({ channels: { echo: () => undefined } }));
    await callee.listen();
    for (let round = 0; round < 6; round += 1) {
      const caller = mesh.node({ registry: new StaticRegistry(dead, callee.record) });
      const { opening } = await caller.openChannel(MATH, request('echo'));
      expect(opening.peer.nodeId).toBe(callee.id);
      await caller.close();
    }
  });
});
