/** Each fault of a test mesh does what it says, and no more, and ends when the mesh heals. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { MeshClientProxy } from '../../lib/nest/mesh.client-proxy.js';
import type { MeshContext } from '../../lib/nest/mesh.context.js';
import type { FakeService } from '../../lib/testing/fake-service.js';
import type { MeshLink } from '../../lib/testing/mesh-link.js';
import { TestMesh } from '../../lib/testing/test-mesh.js';
import { eventually, stillPending, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';

/** Short enough that a test need not wait, long enough for a busy machine. */
const KEEP_ALIVE = { intervalMs: 50, timeoutMs: 200 };
const SILENT = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};

let mesh: TestMesh;
let callee: FakeService;
let client: MeshClientProxy;

/** A fake `math` and a client of service `test`, which have spoken with each other. */
async function start(options: ConstructorParameters<typeof TestMesh>[0] = {}): Promise<void> {
  mesh = new TestMesh({ logger: SILENT, ...options });
  callee = await mesh.service('math', { double: (n: number) => n * 2, echo: (text: string) => text });
  client = mesh.client().to('math');
  expect(await client.call('double', 1)).toBe(2);
}

beforeEach(() => start());
afterEach(() => mesh.close());

describe('A link that drops', () => {
  it('lets nothing pass, and tells nobody', async () => {
    mesh.between('test', 'math').drop();
    expect(await stillPending(client.call('double', 2), 100)).toBe(true);
    expect(callee.received).toHaveLength(1);
  });

  it('is noticed by keep-alive on both sides, which fails the open calls as perhaps run', async () => {
    await mesh.close();
    await start({ keepAlive: KEEP_ALIVE, logger: SILENT });
    mesh.partition('test', 'math');
    const error = await within(failureOf(client.call('double', 2)), 5_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown', service: 'math' });
    expect(error.rawMessage).toContain('keepAlive.timeoutMs');
    await eventually('the callee has noticed too', () => callee.node['inbound'].channels.size === 0);
  });

  it('keeps new connections from being made', async () => {
    const link = mesh.between('math').drop();
    await link.cut();
    const error = await failureOf(client.with({ timeoutMs: 150 }).call('double', 2));
    expect(error).toMatchObject({ delivery: 'not-sent' });
  });

  it('gives everything to a connection that still stands when it heals', async () => {
    mesh.partition('test', 'math');
    const calls = [2, 3, 4].map((n) => client.call('double', n));
    expect(await stillPending(Promise.race(calls), 50)).toBe(true);
    await mesh.heal();
    expect(await Promise.all(calls)).toEqual([4, 6, 8]);
  });

  it('in one direction lets the other one pass', async () => {
    mesh.oneWay('math', 'test').drop();
    const call = client.call('double', 2);
    expect(await callee.waitFor('double', 2)).toHaveLength(2);
    expect(await stillPending(call, 50)).toBe(true);
    mesh.oneWay('math', 'test').heal();
    expect(await call).toBe(4);
  });

  it('leaves links with others alone', async () => {
    const other = mesh.client('other').to('math');
    mesh.partition('test', 'math');
    expect(await other.call('double', 5)).toBe(10);
  });
});

describe('A link with a delay', () => {
  it('takes that long in each direction', async () => {
    mesh.between('test', 'math').delay(60);
    const began = performance.now();
    expect(await client.call('double', 2)).toBe(4);
    expect(performance.now() - began).toBeGreaterThanOrEqual(120);
  });

  it('ends a call whose time is up, and tells its handler', async () => {
    let signal: AbortSignal | undefined;
    await mesh.service('slow', {
      wait: (_data: unknown, ctx: MeshContext) => {
        ({ signal } = ctx);
        return new Promise(() => undefined);
      },
    });
    mesh.between('slow').delay(30);
    const slow = mesh.client().to('slow').with({ timeoutMs: 500 });
    const error = await failureOf(slow.call('wait', 1));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'unknown' });
    await eventually('the handler is told', () => signal?.aborted);
  });

  it('keeps the order of what is sent', async () => {
    mesh.between('test', 'math').delay(20);
    const calls = Array.from({ length: 50 }, (_, n) => client.call('double', n));
    await Promise.all(calls);
    expect(callee.receivedOf('double').map(({ data }) => data)).toEqual([
      1,
      ...Array.from({ length: 50 }, (_, n) => n),
    ]);
  });

  it('outranks what other rules say when it is longer', async () => {
    mesh.between('math').delay(1);
    mesh.between('test', 'math').delay(60);
    const began = performance.now();
    await client.call('double', 2);
    expect(performance.now() - began).toBeGreaterThanOrEqual(120);
  });
});

describe('A slow link', () => {
  it('carries so many bytes a second and no more', async () => {
    mesh.oneWay('math', 'test').slow(100_000);
    const text = 'x'.repeat(20_000);
    const began = performance.now();
    expect(await client.call('echo', text)).toBe(text);
    // Less what may pass at once after a rest: 50 ms.
    expect(performance.now() - began).toBeGreaterThanOrEqual(150);
  });

  it('of no bytes is a reader that has stopped, and goes on when it is healed', async () => {
    const link = mesh.oneWay('test', 'math').slow(0);
    const call = client.call('double', 2);
    expect(await stillPending(call, 50)).toBe(true);
    link.heal();
    expect(await call).toBe(4);
  });
});

describe('A link that refuses', () => {
  it('takes no new connections, while those that stand go on', async () => {
    mesh.between('math').refuse();
    expect(await client.call('double', 2)).toBe(4);
    const error = await failureOf(mesh.client('late').to('math').with({ timeoutMs: 200 }).call('double', 1));
    expect(error).toMatchObject({ delivery: 'not-sent' });
    expect(error.rawMessage).toContain('ECONNREFUSED');
  });

  it('in one direction refuses only those who dial that way', async () => {
    const late = mesh.client('late').to('math').with({ timeoutMs: 200 });
    mesh.oneWay('math', 'late').refuse();
    expect(await late.call('double', 2)).toBe(4);
    await mesh.oneWay('late', 'math').refuse().cut();
    expect(await failureOf(late.call('double', 2))).toMatchObject({ delivery: 'not-sent' });
  });
});

describe('A link that is cut', () => {
  it('fails open calls at once on both sides, and can be made again', async () => {
    let signal: AbortSignal | undefined;
    const slow = await mesh.service('slow', {
      wait: (_data: unknown, ctx: MeshContext) => {
        ({ signal } = ctx);
        return new Promise(() => undefined);
      },
      hurry: () => 'there',
    });
    const waiter = mesh.client('waiter').to('slow');
    const call = failureOf(waiter.call('wait', 1));
    await slow.waitFor('wait');
    await mesh.between('waiter', 'slow').cut();
    expect(await within(call, 2_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await eventually('the handler is told', () => signal?.aborted);
    expect(await waiter.call('hurry', 1)).toBe('there');
  });
});

describe('A node that has crashed', () => {
  it('breaks its connections, and stays in the registry', async () => {
    const slow = await mesh.service('slow', { wait: () => new Promise(() => undefined) });
    const observer = mesh.client();
    const call = failureOf(observer.to('slow').call('wait', 1));
    await slow.waitFor('wait');
    await mesh.crash('slow');
    expect(await within(call, 2_000)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    const error = await failureOf(observer.to('slow').with({ timeoutMs: 200 }).call('wait', 1));
    expect(error).toMatchObject({ delivery: 'not-sent' });
    expect(error.rawMessage).toContain('ECONNREFUSED');
    expect(await observer.unwrap().discover('slow')).toHaveLength(1);
  });

  it('does not come back by healing, and another one takes over', async () => {
    await mesh.crash('math');
    await mesh.heal();
    await mesh.service('math', { double: () => 'the other one' });
    expect(await client.call('double', 2)).toBe('the other one');
  });
});

describe('A registry that is lost', () => {
  it('leaves the known nodes to be called, finds no new ones, and says so', async () => {
    await mesh.loseRegistry('test');
    expect(client.unwrap().status.registry).toMatchObject({ state: 'stale' });
    expect(callee.node.status.registry).toMatchObject({ state: 'connected' });
    expect(await client.call('double', 2)).toBe(4);
    await mesh.service('new', { ping: () => 'pong' });
    const ping = client.to('new').call('ping', 1);
    expect(await stillPending(ping, 100)).toBe(true);
    await mesh.heal();
    expect(await ping).toBe('pong');
    expect(client.unwrap().status.registry).toMatchObject({ state: 'connected' });
  });

  it('for everybody keeps a service from starting', async () => {
    await mesh.loseRegistry();
    await expect(mesh.service('new')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('A record that is hidden', () => {
  it('is not found, while connections that stand go on; healing shows it again', async () => {
    const late = mesh.client('late').to('math');
    await mesh.hide('math-1');
    expect(await client.call('double', 2)).toBe(4);
    const error = await failureOf(late.with({ timeoutMs: 100 }).call('double', 2));
    expect(error.rawMessage).toContain("no node of service 'math' is listed");
    await mesh.heal();
    expect(await late.call('double', 2)).toBe(4);
  });
});

describe('A fault', () => {
  it.each([
    ['a drop', (link: MeshLink) => link.drop()],
    ['a delay', (link: MeshLink) => link.delay(1_000_000)],
    ['a slow link', (link: MeshLink) => link.slow(0)],
    ['a refusal', async (link: MeshLink) => link.refuse().cut()],
  ])('such as %s ends when the mesh heals, and with the mesh', async (_name, set) => {
    await set(mesh.between('math'));
    const call = client.call('double', 2);
    expect(await stillPending(call, 50)).toBe(true);
    await mesh.heal();
    expect(await within(call, 5_000)).toBe(4);
    await set(mesh.between('math'));
    await within(mesh.close(), 3_000, 'close()');
  });

  it('for one node of a service leaves the others alone', async () => {
    await mesh.service('math', { double: () => 'second' });
    await mesh.between('math-1').refuse().cut();
    for (let n = 0; n < 5; n += 1) expect(await client.call('double', n)).toBe('second');
  });

  it('for nobody in the mesh is an error that says who is in it', () => {
    expect(() => mesh.between('test', 'maths')).toThrow(
      "'maths' is not in the test mesh; in it: math-1, test-1",
    );
    expect(() => mesh.between('test', 'math').delay(-1)).toThrow(
      'the delay, in ms, must be a number from 0, not -1',
    );
    expect(() => mesh.between('test', 'math').slow(Number.NaN)).toThrow('must be a number from 0, not NaN');
  });
});
