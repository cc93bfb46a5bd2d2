/** More calls than a node can handle, over real sockets: what is answered, what is refused, and who learns how busy it is. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { connect } from 'node:http2';
import { isNews } from '../../lib/node/load-reports.js';
import type { MeshNode, NodeStatus } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { PeerStatus } from '../../lib/node/peer-status.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { eventually, pause } from '../support/eventually.js';
import { callOf, failureOf, Mesh } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };
/** What is refused is told to the test, and not made again. */
const ONCE = { retry: { attempts: 1 } };

const mesh = new Mesh();
afterEach(() => mesh.close());

interface Counted {
  readonly node: MeshNode;
  handled: number;
  open: number;
  mostOpen: number;
}

const EXHAUSTED = { code: 'RESOURCE_EXHAUSTED', delivery: 'refused' } as const;

/** A call over plain HTTP/2. */
async function unary(node: MeshNode): Promise<unknown> {
  const session = connect(`http://127.0.0.1:${node.record.port}`);
  const request = session.request({
    ':method': 'POST',
    ':path': '/rpc/work',
    'content-type': 'application/json',
  });
  request.end('{}');
  let body = '';
  for await (const chunk of request) body += String(chunk);
  session.close();
  const answer = JSON.parse(body) as { error?: { code: 'RESOURCE_EXHAUSTED'; message: string } };
  if (answer.error !== undefined) throw new MeshError(answer.error.code, answer.error.message);
  return answer;
}

/** A call on a stream of its own. */
async function streamed(caller: MeshNode): Promise<unknown> {
  const stream = await caller.openCall(WORK, {
    route: 'work',
    input: { data: {} },
    metadata: undefined,
    timeoutMs: 5_000,
  });
  const { value } = await stream.next();
  await stream.next();
  return value;
}

/** A node whose handler takes `tookMs`. */
async function worker(tookMs: number, options: Partial<MeshOptions>): Promise<Counted> {
  const count = { handled: 0, open: 0, mostOpen: 0 };
  const work = async (data: unknown): Promise<unknown> => {
    count.open += 1;
    count.mostOpen = Math.max(count.mostOpen, count.open);
    await pause(tookMs);
    count.open -= 1;
    count.handled += 1;
    return data;
  };
  return Object.assign(count, { node: await mesh.serve('work', { calls: { work } }, options) });
}

/** Keeps `callers` calls under way until `count` were made; tells how each has ended. */
async function drive(
  caller: MeshNode,
  callers: number,
  count: number,
): Promise<{ answered: number; errors: MeshError[] }> {
  let made = 0;
  let answered = 0;
  const errors: MeshError[] = [];
  const chain = async (): Promise<void> => {
    while (made < count) {
      const n = (made += 1);
      try {
        const answer = await callOf(caller, WORK, 'work', n);
        if (answer === n) answered += 1;
      } catch (error) {
        errors.push(MeshError.from(error));
        // As a caller does that is told to come back later; otherwise refusals alone would use up the calls of the test.
        await pause(5);
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, chain));
  return { answered, errors };
}

function peerOf(node: MeshNode, { id }: MeshNode): PeerStatus | undefined {
  return node.status.peers.find(({ nodeId }) => nodeId === id);
}

function loadOf({ status }: { readonly status: NodeStatus }): NodeStatus['load'] {
  return status.load;
}

describe('A node that gets ten times as many calls as it handles', () => {
  it('answers as many as it can, refuses the others with a hint, and keeps nothing of them', async () => {
    const busy = await worker(5, { maxConcurrency: 4, maxQueue: 4 });
    const caller = mesh.node(ONCE);
    const { answered, errors } = await drive(caller, 80, 2_000);
    expect(answered + errors.length).toBe(2_000);
    expect(busy.handled).toBe(answered);
    expect(busy.mostOpen).toBe(4);
    // Each caller comes back after 5 ms: were its work lost to refusing, next to nothing would be answered.
    expect(answered).toBeGreaterThan(100);
    expect(errors.length).toBeGreaterThan(100);
    for (const error of errors) {
      expect(error).toMatchObject(EXHAUSTED);
      expect(error.details?.['retryAfterMs']).toBeGreaterThanOrEqual(10);
    }
    expect(loadOf(busy.node)).toMatchObject({ open: 0, queued: 0, refused: errors.length });
    expect(busy.node.deadlines.size).toBe(0);
    expect(peerOf(caller, busy.node)?.load).toMatchObject({ open: 0, state: 'closed' });
  });

  it('answers all of it when callers wait as long as they are told', async () => {
    const busy = await worker(2, { maxConcurrency: 4, maxQueue: 16 });
    const caller = mesh.node({ retry: { attempts: 50 }, retryBudget: { share: 50, perSecond: 1_000 } });
    const { answered, errors } = await drive(caller, 80, 400);
    expect(errors).toEqual([]);
    expect(answered).toBe(400);
    expect(busy.handled).toBe(400);
    expect(busy.mostOpen).toBe(4);
    expect(loadOf(busy.node).refused).toBeGreaterThan(0);
  });

  it('is not left out for being busy, and gets fewer calls than one that is not', async () => {
    const busy = await worker(5, { maxConcurrency: 1, maxQueue: 0 });
    const free = await worker(5, {});
    const caller = mesh.node({ retry: { attempts: 10 }, retryBudget: { share: 10, perSecond: 1_000 } });
    const { answered, errors } = await drive(caller, 20, 600);
    expect(errors).toEqual([]);
    expect(answered).toBe(600);
    expect(loadOf(busy.node).refused).toBeGreaterThan(0);
    expect(peerOf(caller, busy.node)?.load?.state).toBe('closed');
    expect(busy.handled).toBeGreaterThan(0);
    expect(free.handled).toBeGreaterThan(busy.handled);
  });

  it('refuses what waits when it drains, and the call is answered elsewhere', async () => {
    const releases: (() => void)[] = [];
    const work = (): Promise<string> =>
      new Promise((resolve) => releases.push(() => resolve('by the first')));
    const first = await mesh.serve('work', { calls: { work } }, { maxConcurrency: 1, maxQueue: 1 });
    const caller = mesh.node();
    const handled = callOf(caller, WORK, 'work');
    const queued = callOf(caller, WORK, 'work');
    await eventually('one call waits', () => loadOf(first).queued === 1);
    await mesh.serve('work', { calls: { work: () => 'by the second' } });
    await eventually('the caller knows both', async () => (await caller.discover('work')).length === 2);
    const stopped = first.stopServing();
    await expect(queued).resolves.toBe('by the second');
    releases[0]?.();
    await expect(handled).resolves.toBe('by the first');
    await stopped;
    expect(releases).toHaveLength(1);
  });

  it.each(['a unary call', 'a call stream'])('counts and refuses %s like any other', async (kind) => {
    const waits: (() => void)[] = [];
    const work = (): Promise<string> => new Promise((resolve) => waits.push(() => resolve('done')));
    const node = await mesh.serve('work', { calls: { work } }, { maxConcurrency: 1, maxQueue: 0 });
    const caller = mesh.node(ONCE);
    const make = kind === 'a unary call' ? () => unary(node) : () => streamed(caller);
    const first = make();
    await eventually('the first is handled', () => waits.length === 1);
    expect(await failureOf(callOf(caller, WORK, 'work'))).toMatchObject(EXHAUSTED);
    expect(await failureOf(make())).toMatchObject({ code: EXHAUSTED.code });
    expect(waits).toHaveLength(1);
    waits[0]?.();
    await expect(first).resolves.toBe('done');
    const again = callOf(caller, WORK, 'work');
    await eventually('there is room again', () => waits.length === 2);
    waits[1]?.();
    await expect(again).resolves.toBe('done');
  });
});

describe('What a node says of its load', () => {
  it('is how late its event loop is, as long as it is, and callers hear of it', async () => {
    const block = (ms: number): string => {
      const end = performance.now() + ms;
      while (performance.now() < end);
      return 'done';
    };
    const node = await mesh.serve('work', { calls: { work: (ms: number) => block(ms) } });
    const caller = mesh.node();
    await callOf(caller, WORK, 'work', 0);
    await eventually('the delay is measured', async () => {
      await callOf(caller, WORK, 'work', 60);
      return loadOf(node).delayMs > 5;
    });
    const [known] = caller['directories'].existing('work')?.known ?? [];
    await eventually('the caller has heard of it', () => (known?.load['reported'] ?? 0) > 0);
    await eventually('the delay is over', () => loadOf(node).delayMs < 5);
  });

  it('makes callers prefer others, and no call fails', async () => {
    // The nodes of a test share an event loop, so what they measure would be the same: it is said for one of them.
    const rarely = { heartbeatIntervalMs: 60_000, ttlMs: 180_000 };
    const late = await worker(0, rarely);
    const other = await worker(0, rarely);
    const caller = mesh.node({ ...rarely, slowStartMs: 0 });
    await caller.discover('work');
    for (let n = 0; n < 20; n += 1) await callOf(caller, WORK, 'work');
    for (const channel of late.node['inbound'].channels) channel.report({ open: 0, delayMs: 500 });
    const known = caller['directories'].existing('work')?.known.find(({ id }) => id === late.node.id);
    await eventually('the caller has heard of it', () => (known?.load['reported'] ?? 0) > 0);
    const before = { late: late.handled, other: other.handled };
    for (let n = 0; n < 200; n += 1) expect(await callOf(caller, WORK, 'work', n)).toBe(n);
    const lateCalls = late.handled - before.late;
    const otherCalls = other.handled - before.other;
    expect(lateCalls + otherCalls).toBe(200);
    expect(otherCalls).toBeGreaterThan(3 * lateCalls);
    expect(peerOf(caller, late.node)?.load?.state).toBe('closed');
  });

  it('is not sent to a peer that does not say that it takes it', async () => {
    const node = await mesh.serve('work', { calls: { work: () => 'done' } });
    const session = connect(`http://127.0.0.1:${node.record.port}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/channel',
      'x-service-name': 'older',
      'x-mesh-version': '1',
    });
    const headers = await new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
    // It says that it takes it itself.
    expect(headers['x-mesh-accepts']).toBe('load');
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const [channel] = node['inbound'].channels;
    channel?.report({ open: 9, delayMs: 900 });
    stream.end();
    await new Promise((resolve) => stream.once('close', resolve));
    session.close();
    expect(bytes).toBe(0);
  });

  it('is ignored where it is no number, or no number of that kind', async () => {
    const node = await mesh.serve('work', { calls: { work: () => 'done' } });
    const caller = mesh.node();
    await callOf(caller, WORK, 'work');
    const [channel] = node['inbound'].channels;
    for (const load of [{}, { open: -1, delayMs: 1 }, { open: 1, delayMs: '9' }, { open: null, delayMs: 1 }])
      channel?.report(load as never);
    // What was sent before the answer has come before it.
    await callOf(caller, WORK, 'work');
    const [known] = caller['directories'].existing('work')?.known ?? [];
    expect(known?.load['reported']).toBe(0);
    expect(mesh.warnings).toEqual([]);
  });

  it.each([
    ['the first calls', undefined, { open: 2, delayMs: 0 }, true],
    ['nothing, where nothing was told', undefined, { open: 1, delayMs: 5 }, false],
    ['a fifth more', { open: 100, delayMs: 0 }, { open: 120, delayMs: 0 }, false],
    ['more than a fifth more', { open: 100, delayMs: 0 }, { open: 121, delayMs: 0 }, true],
    ['the last call that has ended', { open: 2, delayMs: 0 }, { open: 0, delayMs: 0 }, true],
    ['a little more delay', { open: 0, delayMs: 10 }, { open: 0, delayMs: 15 }, false],
    ['much more delay', { open: 0, delayMs: 10 }, { open: 0, delayMs: 15.1 }, true],
    ['the end of a delay', { open: 0, delayMs: 10 }, { open: 0, delayMs: 0 }, true],
  ] as const)('is told when it has changed: %s', (_what, told, report, isTold) => {
    expect(isNews(told && { ...told, atMs: 0 }, report, 100)).toBe(isTold);
  });

  it('is told again before it is forgotten, unless it is nothing', () => {
    const busy = { open: 50, delayMs: 1 };
    expect(isNews({ ...busy, atMs: 0 }, busy, 4_999)).toBe(false);
    expect(isNews({ ...busy, atMs: 0 }, busy, 5_000)).toBe(true);
    const idle = { open: 0, delayMs: 0 };
    expect(isNews({ ...idle, atMs: 0 }, idle, 60_000)).toBe(false);
  });
});
