/** Nodes that leave: what is under way is finished, nothing new comes, nobody notices, and nothing stays open. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { eventually, pause, stillPending, within } from '../support/eventually.js';
import { callOf, failureOf, Mesh } from '../support/mesh-fixture.js';
import { RawClient, RawServer } from '../support/raw-peer.js';
import { recordOf, StaticRegistry } from '../support/mesh-fixture.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const MATH = { service: 'math' };
const KINDS = /^(TCP|TLS|HTTP2|Pipe|Timeout)/;

/** What keeps this process alive, of the kinds that a node opens. */
function handles(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => KINDS.test(kind) && kind !== 'PipeWrap');
}

/** Calls without a pause until it is stopped; resolves with how many were answered, rejects with the first that failed. */
function load(caller: MeshNode, lanes: number): () => Promise<number> {
  const stop = new AbortController();
  let answered = 0;
  const lane = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await callOf(caller, MATH, 'echo', answered);
      answered += 1;
      await pause(1); // Lets the other lanes and nodes run.
    }
  };
  const all = Promise.all(Array.from({ length: lanes }, lane));
  all.catch(() => undefined);
  return async () => {
    stop.abort();
    await all;
    return answered;
  };
}

const ECHO = {
  calls: {
    echo: async (data: unknown) => {
      await pause(5); // So that calls are open at any moment.
      return data;
    },
  },
};

describe('A node that leaves', () => {
  it('loses no call of a steady load: its peers go to the other one', async () => {
    const leaving = await mesh.serve('math', ECHO);
    await mesh.serve('math', ECHO);
    const callers = [mesh.node(), mesh.node(), mesh.node()];
    const stops = callers.map((caller) => load(caller, 20));
    await pause(200); // The load runs on both.
    await leaving.close();
    await pause(200); // And goes on with one.
    const answered = await Promise.all(stops.map((stop) => stop()));
    expect(Math.min(...answered)).toBeGreaterThan(100);
  });

  it('loses no call when it is restarted again and again', async () => {
    await mesh.serve('math', ECHO);
    const caller = mesh.node();
    const stop = load(caller, 20);
    for (let round = 0; round < 4; round += 1) {
      const node = await mesh.serve('math', ECHO);
      await pause(120); // The load finds it.
      await node.close();
    }
    expect(await stop()).toBeGreaterThan(200);
  });

  it('loses no call that comes over a channel which it has dialled itself', async () => {
    const caller = await mesh.serve('caller', { calls: { hello: () => 'hello' } });
    const leaving = await mesh.serve('math', ECHO);
    await mesh.serve('math', ECHO);
    // The caller reaches it over this channel.
    await callOf(leaving, { service: 'caller' }, 'hello');
    const stop = load(caller, 20);
    await pause(200); // The load runs on both.
    await leaving.close();
    await pause(100); // And goes on with one.
    expect(await stop()).toBeGreaterThan(100);
  });

  it('finishes calls that are open before it closes, within drainTimeoutMs', async () => {
    const open: InboundCall[] = [];
    const leaving = await mesh.serve('math', {
      calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) },
    });
    const calling = callOf(mesh.node(), MATH, 'wait');
    await eventually('the handler runs', () => open.length === 1);
    const closing = leaving.close();
    expect(await stillPending(closing, 150)).toBe(true);
    open[0]?.respond('finished');
    expect(await calling).toBe('finished');
    await within(closing, 1_000, 'close()');
  });

  it('ends what is still open when drainTimeoutMs is over', async () => {
    const open: InboundCall[] = [];
    const leaving = await mesh.serve(
      'math',
      { calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) } },
      { drainTimeoutMs: 100 },
    );
    const failing = failureOf(callOf(mesh.node(), MATH, 'wait'));
    await eventually('the handler runs', () => open.length === 1);
    await within(leaving.close(), 2_000, 'close()');
    expect(await within(failing, 1_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    expect(open[0]?.signal.aborted).toBe(true);
  });

  it('is not found any more at once, and takes no new channels', async () => {
    const open: InboundCall[] = [];
    const leaving = await mesh.serve('math', {
      calls: { wait: (_: unknown, call: InboundCall) => void open.push(call) },
    });
    const looking = mesh.node();
    const client = mesh.keep(await RawClient.dial(leaving.record.port));
    const calling = callOf(mesh.node(), MATH, 'wait');
    await eventually('the handler runs', () => open.length === 1);
    const closing = leaving.close();
    await eventually('it is withdrawn', async () => (await looking.discover('math')).length === 0);
    const refusal = await client.refused({});
    expect(refusal.status).toBe(503);
    expect(refusal.body).toContain('shutting down');
    open[0]?.respond('finished');
    await calling;
    await closing;
  });

  it('lets its handlers call other services until they have ended', async () => {
    const caller = mesh.node();
    await mesh.serve('other', { calls: { ask: () => 'an answer' } });
    let goOn: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    let begun = false;
    const leaving: MeshNode = await mesh.serve('math', {
      calls: {
        relay: async () => {
          begun = true;
          await gate;
          return callOf(leaving, { service: 'other' }, 'ask');
        },
      },
    });
    const calling = callOf(caller, MATH, 'relay');
    await eventually('the handler runs', () => begun);
    const closing = leaving.close();
    await pause(30); // It drains by now.
    goOn();
    expect(await calling).toBe('an answer');
    await closing;
  });
});

describe('Closing a node', () => {
  it('lets events arrive that were handed over before', async () => {
    const events: unknown[] = [];
    await mesh.serve('math', { event: ({ data }) => events.push(data) });
    const caller = mesh.node();
    const event = { pattern: 'noted', route: 'noted', metadata: undefined, timeoutMs: 1_000 };
    await caller.emit(MATH, { ...event, data: 0 });
    for (let n = 1; n <= 1_000; n += 1) void caller.emit(MATH, { ...event, data: n });
    await caller.close();
    await eventually('all have come', () => events.length === 1_001);
  });

  it('fails the calls it made, at once and by name, and those that wait', async () => {
    await mesh.serve('math', { calls: { wait: () => undefined } });
    const caller = mesh.node();
    const open = failureOf(callOf(caller, MATH, 'wait', 1, { timeoutMs: 20_000 }));
    const waiting = failureOf(callOf(caller, { service: 'nobody' }, 'wait', 1, { timeoutMs: 20_000 }));
    await pause(50); // The first is open by now.
    await within(caller.close(), 3_000, 'close()');
    expect(await open).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await waiting).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('leaves no connection, no listener and no timer open', async () => {
    const before = handles();
    const callee = await mesh.serve('math', { ...ECHO, channels: { raw: () => undefined } });
    const caller = await mesh.serve('caller', {});
    await callOf(caller, MATH, 'echo', 1);
    await caller.openChannel(MATH, {
      name: 'raw',
      metadata: undefined,
      sessionId: undefined,
      timeoutMs: 1_000,
    });
    await failureOf(callOf(caller, { service: 'nobody' }, 'echo', 1, { timeoutMs: 50 }));
    await caller.close();
    await callee.close();
    await eventually('all is closed', () => {
      const left = handles();
      return left.length <= before.length;
    });
  });

  it('does not wait for a peer that is still being dialled', async () => {
    const silent = mesh.keep(await RawServer.start(() => undefined));
    const caller = mesh.node({
      registry: new StaticRegistry(recordOf('math', silent.port)),
      connectTimeoutMs: 20_000,
    });
    const failing = failureOf(callOf(caller, MATH, 'any'));
    await silent.stream();
    await within(caller.close(), 4_000, 'close()');
    expect(await failing).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    await eventually('the connection is gone', () => silent.sessions.size === 0);
  });

  it('twice is once, and after it nothing begins any more', async () => {
    const node = await mesh.serve('math', ECHO);
    await Promise.all([node.close(), node.close(), node.stopServing()]);
    await expect(node.listen()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(node.announce()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(node.status).toMatchObject({ listening: false, announced: false, draining: true });
  });

  it('is no matter for a node that never did anything', async () => {
    await within(mesh.node().close(), 1_000, 'close()');
  });
});

describe('Listening', () => {
  it('on a port that is in use says so, and the node can be closed', async () => {
    const first = await mesh.serve('math');
    const second = mesh.node({ service: 'math', port: first.record.port });
    const error = await failureOf(second.listen());
    expect(error.code).toBe('FAILED_PRECONDITION');
    expect(error.rawMessage).toContain('the port is in use');
    await second.close();
  });

  it('asked for twice at a time opens one port', async () => {
    const before = handles().length;
    const node = mesh.node({ service: 'math' });
    await Promise.all([node.listen(), node.listen()]);
    expect(handles().length - before).toBeLessThanOrEqual(2);
    await node.close();
  });

  it('beyond loopback without TLS is warned of', async () => {
    const node = mesh.node({ service: 'math', host: '0.0.0.0' });
    await node.listen();
    expect(mesh.warnings).toEqual([expect.stringContaining('listening on 0.0.0.0 without TLS')]);
  });
});
