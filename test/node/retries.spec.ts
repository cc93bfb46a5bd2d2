/** Calls that fail are made again where that is safe: on another node, within their time, and within the budget. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { MeshClientProxy } from '../../lib/nest/mesh.client-proxy.js';
import type { MeshCallOptions } from '../../lib/nest/call-options.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { MeshError, type MeshErrorInit } from '../../lib/protocol/mesh-error.js';
import type { MeshErrorCode } from '../../lib/protocol/error-code.js';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import { ChildPeer } from '../support/child-peer.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, Mesh, StaticRegistry, type CallOptions } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };
/** Many attempts, and no long waits between them. */
const EAGER = { attempts: 3, baseMs: 1, maxMs: 5 };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** Nodes that answer every call with an error; gives the ids of those that were asked, in order. */
async function serveFailing(
  count: number,
  code: MeshErrorCode = 'UNAVAILABLE',
  init: MeshErrorInit = { delivery: 'refused' },
): Promise<string[]> {
  const asked: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const node: MeshNode = await mesh.serve('work', {
      calls: {
        work: (_: unknown, call: InboundCall) => {
          asked.push(node.id);
          call.fail(new MeshError(code, 'not now', init).toWire());
        },
      },
    });
  }
  return asked;
}

async function callerOf(count: number, options: Parameters<Mesh['node']>[0] = {}): Promise<MeshNode> {
  const caller = mesh.node({ picker: roundRobin, retry: EAGER, ...options });
  await eventually('all are found', async () => (await caller.discover('work')).length === count);
  return caller;
}

describe('A call that a node refuses', () => {
  it('is made again on another node, and its caller never learns of it', async () => {
    const asked = await serveFailing(1);
    await mesh.serve('work', { calls: { work: () => 'done' } });
    const caller = await callerOf(2);
    for (let n = 0; n < 10; n += 1) expect(await callOf(caller, WORK, 'work')).toBe('done');
    expect(asked.length).toBeGreaterThan(0);
  });

  it('is made on as many nodes as there may be attempts, each time on another one', async () => {
    const asked = await serveFailing(4);
    const caller = await callerOf(4);
    const failure = await failureOf(callOf(caller, WORK, 'work'));
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', delivery: 'refused', nodeId: asked.at(-1) });
    expect(new Set(asked).size).toBe(3);
    expect(asked).toHaveLength(3);
  });

  it('is made once with one attempt, whoever says so', async () => {
    const asked = await serveFailing(2);
    const caller = await callerOf(2);
    await failureOf(callOf(caller, WORK, 'work', 1, { retry: { attempts: 1 } }));
    const other = await callerOf(2, { retry: { attempts: 1 } });
    await failureOf(callOf(other, WORK, 'work'));
    expect(asked).toHaveLength(2);
  });

  it('goes to no other node when it is meant for that one', async () => {
    const asked = await serveFailing(1);
    await mesh.serve('work', { calls: { work: () => 'done' } });
    const caller = await callerOf(2);
    const [own] = await caller.discover('work');
    const refusing = (): boolean => asked.length > 0;
    while (!refusing()) await callOf(caller, WORK, 'work');
    const nodeId = asked[0] ?? own?.id ?? '';
    await failureOf(callOf(caller, { ...WORK, nodeId }, 'work', 1, { timeoutMs: 300 }));
    expect(new Set(asked)).toEqual(new Set([nodeId]));
  });

  it.each<[MeshErrorCode, MeshErrorInit]>([
    ['UNIMPLEMENTED', { delivery: 'refused' }],
    ['INVALID_ARGUMENT', { delivery: 'refused' }],
    ['RESOURCE_EXHAUSTED', { delivery: 'refused' }],
    ['INTERNAL', { delivery: 'unknown' }],
    ['UNAVAILABLE', { delivery: 'unknown' }],
  ])('with %s, %j is not made again', async (code, init) => {
    const asked = await serveFailing(2, code, init);
    expect(await failureOf(callOf(await callerOf(2), WORK, 'work'))).toMatchObject({ code, ...init });
    expect(asked).toHaveLength(1);
  });
});

describe('The wait that a busy node asks for', () => {
  const busy = (retryAfterMs: number): MeshErrorInit => ({ delivery: 'refused', details: { retryAfterMs } });

  it('comes before the call is made again', async () => {
    const asked = await serveFailing(2, 'RESOURCE_EXHAUSTED', busy(40));
    const began = performance.now();
    await failureOf(callOf(await callerOf(2), WORK, 'work'));
    expect(asked).toHaveLength(3);
    expect(performance.now() - began).toBeGreaterThanOrEqual(79);
  });

  it('is not begun when the time of the call would be over before it', async () => {
    const asked = await serveFailing(2, 'RESOURCE_EXHAUSTED', busy(60_000));
    const failing = failureOf(callOf(await callerOf(2), WORK, 'work', 1, { timeoutMs: 30_000 }));
    expect(await within(failing, 5_000)).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(asked).toHaveLength(1);
  });

  it('ends at once when the node of the caller is closed', async () => {
    const asked = await serveFailing(1, 'RESOURCE_EXHAUSTED', busy(20_000));
    const caller = await callerOf(1);
    const failing = failureOf(callOf(caller, WORK, 'work', 1, { timeoutMs: 30_000 }));
    await eventually('it was refused', () => asked.length === 1);
    await pause(50); // The refusal is on its way.
    await caller.close();
    expect(await within(failing, 2_000)).toMatchObject({ delivery: 'refused' });
  });

  it('ends with the time of the call, of which nothing is sent afterwards', async () => {
    const asked = await serveFailing(1, 'RESOURCE_EXHAUSTED', busy(100));
    const caller = await callerOf(1, { retry: { attempts: 3, baseMs: 60_000, maxMs: 60_000 } });
    // Full jitter may be short by chance; most of these waits are not.
    const failures = await Promise.all(
      Array.from({ length: 5 }, () => failureOf(callOf(caller, WORK, 'work', 1, { timeoutMs: 200 }))),
    );
    const count = asked.length;
    expect(failures.every(({ code }) => code === 'RESOURCE_EXHAUSTED' || code === 'UNAVAILABLE')).toBe(true);
    await pause(200); // Nothing is to happen.
    expect(asked).toHaveLength(count);
  });
});

describe('The budget of a service', () => {
  it('that is spent leaves the caller with the first error', async () => {
    const asked = await serveFailing(3);
    const caller = await callerOf(3, { retryBudget: { share: 0, perSecond: 0 } });
    expect(await failureOf(callOf(caller, WORK, 'work'))).toMatchObject({ nodeId: asked[0] });
    expect(asked).toHaveLength(1);
  });

  it('lets an outage have a fifth more calls, and no more', async () => {
    const asked = await serveFailing(1);
    const caller = await callerOf(1, { retryBudget: { share: 0.2, perSecond: 0 } });
    for (let n = 0; n < 50; n += 1) await failureOf(callOf(caller, WORK, 'work'));
    expect(asked.length).toBeGreaterThanOrEqual(59);
    expect(asked.length).toBeLessThanOrEqual(60);
  });
});

describe('The calls that were open at a node which is killed', () => {
  const OPEN = 8;

  /** What becomes of them when another node is there. */
  async function killed(announced: readonly string[], options: CallOptions = {}): Promise<unknown[]> {
    const peer = mesh.keep(await ChildPeer.start('work', 'silent'));
    const other = await mesh.serve('work', { calls: { work: () => 'done' } });
    const record: NodeRecord = { ...peer.record, metadata: { mesh: { idempotent: announced } } };
    const registry = new StaticRegistry(record);
    const caller = mesh.node({ registry, retry: EAGER });
    const calls = Array.from({ length: OPEN }, (_, n) =>
      callOf(caller, WORK, 'work', n, { timeoutMs: 20_000, ...options }).catch((error: unknown) => error),
    );
    await eventually(
      'they are open',
      () => caller['directories'].of('work').known[0]?.channel?.openCalls === OPEN,
    );
    await pause(20); // They are on their way.
    registry.set(record, other.record);
    peer.kill();
    return within(Promise.all(calls), 5_000);
  }

  const allDone = Array.from({ length: OPEN }, () => 'done');
  const allUnknown = Array.from({ length: OPEN }, () =>
    expect.objectContaining({ code: 'UNAVAILABLE', delivery: 'unknown' }),
  );

  it('are all answered by another one when their handler is announced as idempotent', async () => {
    expect(await killed(['work'])).toEqual(allDone);
  });

  it('are all answered by another one when the caller says that they may run twice', async () => {
    expect(await killed([], { idempotent: true })).toEqual(allDone);
  });

  it.each<[string, readonly string[], CallOptions]>([
    ['nobody says that they may run twice', ['other'], {}],
    ['the caller says that they may not', ['work'], { idempotent: false }],
    ['there is one attempt', ['work'], { retry: { attempts: 1 } }],
  ])('fail as calls that may have run when %s', async (_, announced, options) => {
    expect(await killed(announced, options)).toEqual(allUnknown);
  });

  it('are made again when they had not left yet, and only then', async () => {
    const peer = mesh.keep(await ChildPeer.start('work', 'deaf'));
    const seen: number[] = [];
    const other = await mesh.serve('work', {
      calls: { work: ({ n }: { n: number }) => seen.push(n) },
    });
    const registry = new StaticRegistry(peer.record);
    const caller = mesh.node({ registry, retry: EAGER, largeMessageBytes: 0 });
    const padding = 'x'.repeat(1024 * 1024);
    const failed: number[] = [];
    const calls: Promise<unknown>[] = [];
    // Its window is 64 KB: these fill what HTTP/2 takes, and the rest waits here.
    for (let n = 0; n < 12; n += 1) {
      const call = callOf(caller, WORK, 'work', { n, padding }, { timeoutMs: 20_000 });
      calls.push(call.catch(() => failed.push(n)));
      await pause(5); // A turn for each, so that each is written as soon as it can be.
    }
    registry.set(peer.record, other.record);
    peer.kill();
    await within(Promise.all(calls), 10_000);
    expect(failed).toContain(0);
    expect(seen.length).toBeGreaterThan(0);
    expect([...failed, ...seen].sort((a, b) => a - b)).toEqual(calls.map((_, n) => n));
  });
});

describe('A client', () => {
  async function clientOf(options: MeshCallOptions): Promise<MeshClientProxy> {
    const caller = await callerOf(3);
    const registry = new StaticRegistry(...(await caller.discover('work')));
    const client = new MeshClientProxy({ service: 'caller', registry, to: 'work', retry: EAGER });
    mesh.keep({ close: () => client.close() });
    return client.with(options);
  }

  it.each<[MeshCallOptions, number]>([
    [{}, 3],
    [{ retry: false }, 1],
    [{ retry: { attempts: 2 } }, 2],
  ])('with %j makes a refused call %p times', async (options, times) => {
    const asked = await serveFailing(3);
    const client = await clientOf(options);
    await expect(client.call('work', {})).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(asked).toHaveLength(times);
  });

  it.each<[MeshCallOptions, number]>([
    [{}, 1],
    [{ idempotent: true }, 3],
    [{ idempotent: true, retry: false }, 1],
  ])('with %j makes a call that may have run %p times', async (options, times) => {
    const asked = await serveFailing(3, 'UNAVAILABLE', { delivery: 'unknown' });
    const client = await clientOf(options);
    await expect(client.call('work', {})).rejects.toMatchObject({ delivery: 'unknown' });
    expect(asked).toHaveLength(times);
  });

  it.each([{ attempts: 0 }, { attempts: 1.5 }, { baseMs: -1 }, { tries: 3 }])(
    'refuses the retry %j, and says what it takes',
    (retry) => {
      const client = new MeshClientProxy({ service: 'caller', registry: 'memory:none', to: 'work' });
      expect(() => client.with({ retry: retry as MeshCallOptions['retry'] })).toThrow(
        /retry\.\w+ (must be|is not)/,
      );
    },
  );
});
