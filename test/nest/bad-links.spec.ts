/** Calls, streams and channels over links that lose, delay, slow and break: everything ends, says why, and goes on afterwards. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { MeshChannel } from '../../lib/nest/mesh.channel.js';
import type { MeshClientProxy } from '../../lib/nest/mesh.client-proxy.js';
import type { MeshContext } from '../../lib/nest/mesh.context.js';
import type { FakeService } from '../../lib/testing/fake-service.js';
import { TestMesh, type MeshTestOptions } from '../../lib/testing/test-mesh.js';
import { eventually, pause, stillPending, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';

const QUIET = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};
/** Short enough that a test need not wait, long enough for a busy machine. */
const KEEP_ALIVE = { intervalMs: 50, timeoutMs: 200 };
const KB = 'x'.repeat(1024);

let mesh: TestMesh;
/** What the handlers of `feed` have made so far, and those that have ended. */
let made: number;
let ended: number;
let signals: AbortSignal[];

async function join(service = 'feed'): Promise<FakeService> {
  return mesh.service(
    service,
    {
      double: (n: number) => n * 2,
      budget: (_: unknown, context: MeshContext) => (context.deadline ?? 0) - Date.now(),
      wait: (_: unknown, context: MeshContext) => {
        signals.push(context.signal);
        return new Promise(() => undefined);
      },
      async *values(count: number) {
        try {
          for (let n = 0; n < count; n += 1) {
            made += 1;
            yield { n, filling: KB };
          }
        } finally {
          ended += 1;
        }
      },
    },
    {
      events: { noted: () => undefined },
      channels: {
        hold: async (channel: MeshChannel<string, string>) => {
          for await (const value of channel) await channel.send(value);
        },
      },
    },
  );
}

let feed: FakeService;
let client: MeshClientProxy;

/** A `feed` and a client of service `reader`, which have spoken with each other. */
async function start(options: MeshTestOptions): Promise<void> {
  mesh = new TestMesh({ logger: QUIET, ...options });
  made = ended = 0;
  signals = [];
  feed = await join();
  client = mesh.client('reader').to('feed');
  expect(await client.call('double', 1)).toBe(2);
}

beforeEach(() => {
  // Nest logs what the handlers of these tests throw.
  Logger.overrideLogger(false);
  return start({ keepAlive: KEEP_ALIVE });
});
afterEach(async () => {
  Logger.overrideLogger(true);
  await mesh.close();
});

describe('Under a partition', () => {
  it('all that is open fails typed within keep-alive, and goes on once it has healed', async () => {
    const channel = await client.channel<string, string>('hold');
    await channel.send('before');
    expect(await channel[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 'before' });
    const calls = Array.from({ length: 20 }, (_, n) => failureOf(client.call('wait', n)));
    await feed.waitFor('wait', 20);
    mesh.partition('reader', 'feed');
    for (const error of await within(Promise.all(calls), 5_000)) {
      expect(error).toMatchObject({
        code: 'UNAVAILABLE',
        delivery: 'unknown',
        service: 'feed',
        nodeId: feed.node.id,
        pattern: 'wait',
      });
    }
    expect(await within(channel.whenClosed, 5_000)).toMatchObject({ code: 'UNAVAILABLE' });
    await eventually('the handlers are told', () => signals.every(({ aborted }) => aborted));
    await mesh.heal();
    expect(await client.call('double', 21)).toBe(42);
  });

  it('calls that could not leave fail within their own timeout, and those after healing wait for the connection', async () => {
    mesh.partition('reader', 'feed');
    await failureOf(client.call('double', 2));
    const late = await failureOf(client.with({ timeoutMs: 100 }).call('double', 3));
    expect(late).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    const waiting = client.call('double', 4);
    expect(await stillPending(waiting, 50)).toBe(true);
    await mesh.heal();
    expect(await waiting).toBe(8);
  });

  it('calls go to the nodes on this side of it', async () => {
    await join();
    mesh.partition('reader', 'feed-1');
    await eventually('the loss is noticed', async () => {
      await client.call('double', 1).catch(() => undefined);
      const { known } = client.unwrap()['directories'].of('feed');
      return known.some((node) => node.lastError !== undefined);
    });
    feed.clear();
    for (let n = 0; n < 10; n += 1) expect(await client.call('double', n)).toBe(n * 2);
    expect(feed.received).toEqual([]);
  });

  it('a caller that gives up is answered at once, not when the link is', async () => {
    mesh.partition('reader', 'feed');
    const controller = new AbortController();
    const call = failureOf(client.with({ signal: controller.signal }).call('double', 1));
    controller.abort();
    expect(await within(call, 1_000)).toMatchObject({ code: 'CANCELLED' });
  });

  it('a node closes in bounded time', async () => {
    mesh.partition('reader', 'feed');
    void client.call('wait', 1).catch(() => undefined);
    await within(feed.close(), 4_000, 'close() of the callee');
    await within(client.unwrap().close(), 4_000, 'close() of the caller');
  });
});

describe('When one direction drops', () => {
  it('a lost answer fails the call as perhaps run, although it has run', async () => {
    mesh.oneWay('feed', 'reader').drop();
    const error = await within(failureOf(client.call('double', 2)), 5_000);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    expect(feed.receivedOf('double').map(({ data }) => data)).toEqual([1, 2]);
  });

  it('a handler whose caller can no longer be heard is cancelled by keep-alive', async () => {
    const call = failureOf(client.call('wait', 1));
    await feed.waitFor('wait');
    mesh.oneWay('reader', 'feed').drop();
    await within(call, 5_000);
    await eventually('the handler is told', () => signals[0]?.aborted);
  });
});

describe('Over a link with a delay', () => {
  it('what is left of the timeout is what the handler is given', async () => {
    mesh.between('reader', 'feed').delay(40);
    const left = await client.with({ timeoutMs: 2_000 }).call<number>('budget', 1);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(2_000);
  });

  it('longer than connectTimeoutMs no connection is made, and the error names the option', async () => {
    const far = mesh.client('far', { connectTimeoutMs: 50 }).to('feed');
    mesh.between('far', 'feed').delay(200);
    const error = await failureOf(far.with({ timeoutMs: 150 }).call('double', 1));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
    expect(error.rawMessage).toContain('within 50 ms (connectTimeoutMs)');
  });

  it('longer than keepAlive.timeoutMs the peer counts as lost', async () => {
    mesh.between('reader', 'feed').delay(2_000);
    const error = await within(failureOf(client.call('double', 2)), 5_000);
    expect(error.rawMessage).toContain('keepAlive.timeoutMs');
  });
});

describe('A reader whose link is slow', () => {
  const COUNT = 20_000;

  // PINGs wait behind the values: with the short times of the other tests the reader would count as lost.
  beforeEach(async () => {
    await mesh.close();
    await start({});
  });

  it('bounds how far the producer runs ahead, in bytes, and gets everything in order', async () => {
    const link = mesh.oneWay('feed', 'reader').slow(2_000_000);
    let read = 0;
    let furthest = 0;
    for await (const { n } of client.stream<{ n: number }>('values', COUNT)) {
      expect(n).toBe(read);
      read += 1;
      furthest = Math.max(furthest, made - read);
      if (read === 2_000) link.heal();
    }
    expect(read).toBe(COUNT);
    // What both sides hold for a stream (1 MB before the writer waits, 256 KB before the reader does), and the sockets.
    expect(furthest * KB.length).toBeLessThan(4 * 1024 * 1024);
  });

  it('stops the producer when it stops, and cancels it when it leaves', async () => {
    const answer = client.stream<{ n: number }>('values', COUNT)[Symbol.asyncIterator]();
    expect(await answer.next()).toMatchObject({ value: { n: 0 } });
    const link = mesh.oneWay('feed', 'reader').slow(0);
    // Long enough that it would have made all, had it not been stopped.
    const before = await settled(() => made);
    expect(before).toBeLessThan(COUNT);
    expect(before * KB.length).toBeLessThan(4 * 1024 * 1024);
    link.heal();
    await answer.return?.();
    await eventually('the generator has ended', () => ended === 1);
  });

  it('leaves calls with other nodes as quick as they were', async () => {
    const other = mesh.client('other').to('feed');
    const stuck = client.stream('values', COUNT)[Symbol.asyncIterator]();
    await stuck.next();
    mesh.oneWay('feed', 'reader').slow(0);
    expect(await within(other.call('double', 3), 2_000)).toBe(6);
    await mesh.heal();
    await stuck.return?.();
  });
});

describe('A peer that crashes', () => {
  it('fails its open calls as perhaps run, and the calls after that go to another node', async () => {
    const calls = Array.from({ length: 10 }, () => failureOf(client.call('wait', 1)));
    await feed.waitFor('wait', 10);
    await join();
    await mesh.crash('feed-1');
    for (const error of await within(Promise.all(calls), 2_000))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown', nodeId: feed.node.id });
    for (let n = 0; n < 10; n += 1) expect(await client.call('double', n)).toBe(n * 2);
  });

  it('fails the stream that it was answering, after the values that had come', async () => {
    const read: number[] = [];
    const failing = (async () => {
      for await (const { n } of client.stream<{ n: number }>('values', 1_000_000)) {
        read.push(n);
        if (n === 100) await mesh.crash('feed');
      }
    })();
    expect(await failureOf(failing)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    expect(read.slice(0, 101)).toEqual(Array.from({ length: 101 }, (_, n) => n));
  });

  it('cancels the calls that it had made', async () => {
    const call = failureOf(client.call('wait', 1));
    await feed.waitFor('wait');
    await mesh.crash('reader');
    await call;
    await eventually('the handler is told', () => signals[0]?.aborted);
    expect(String(signals[0]?.reason)).toContain('the caller is gone');
  });
});

/** The value once it has stood still for a while: what backpressure does not do can only be seen by waiting. */
async function settled(value: () => number): Promise<number> {
  for (;;) {
    const before = value();
    await pause(150);
    if (value() === before) return before;
  }
}
