/** Raw channels: any JSON both ways, backpressure both ways, and an end that tells whether everything has come. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { FrameStream } from '../../lib/transport/frame-stream.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { resetStream } from '../../lib/transport/reset.js';
import { startRawChannel } from '../../lib/transport/raw-stream.js';
import { eventually, pause, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';
import { frame } from '../support/raw-peer.js';
import { limitsWith, streamPair, type StreamPair } from '../support/stream-pair.js';

const pairs: StreamPair[] = [];

interface Channels extends StreamPair {
  readonly one: RawChannel;
  readonly other: RawChannel;
  readonly faults: string[];
}

async function channels(limits = {}): Promise<Channels> {
  const pair = await streamPair();
  pairs.push(pair);
  const faults: string[] = [];
  const start = (stream: StreamPair['near'] | StreamPair['far'], name: string): RawChannel =>
    startRawChannel(new FrameStream(stream, limitsWith(limits), name), (fault) => faults.push(fault));
  return { ...pair, one: start(pair.near, 'one'), other: start(pair.far, 'other'), faults };
}

async function readAll(channel: RawChannel): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of channel) values.push(value);
  return values;
}

const BIG = 'x'.repeat(100_000);

afterEach(async () => {
  for (const pair of pairs.splice(0)) await pair.close();
});

describe('A raw channel', () => {
  it('carries any JSON value both ways at the same time', async () => {
    const { one, other } = await channels();
    const values = [
      null,
      0,
      '',
      [],
      {},
      false,
      { pattern: 'p', id: 1 },
      JSON.parse('{"__proto__":{"x":1}}') as unknown,
    ];
    for (const value of values) {
      void one.send(value);
      void other.send({ back: value });
    }
    one.end();
    other.end();
    expect(await readAll(other)).toEqual(values);
    expect(await readAll(one)).toEqual(values.map((back) => ({ back })));
    expect(await one.whenClosed).toBeUndefined();
    expect(await other.whenClosed).toBeUndefined();
  });

  it('goes on receiving after its own half has ended', async () => {
    const { one, other } = await channels();
    one.end();
    expect(await readAll(other)).toEqual([]);
    await other.send('late');
    other.end();
    expect(await readAll(one)).toEqual(['late']);
    await expect(one.send(1)).rejects.toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('lets a value that was sent before end() leave, however large', async () => {
    const { one, other } = await channels();
    const sent = Array.from({ length: 50 }, () => one.send(BIG));
    one.end();
    const got = await readAll(other);
    expect(got).toHaveLength(50);
    await within(Promise.all(sent), 2_000, 'send()');
  });

  it('rejects a value that cannot be written, and stays open', async () => {
    const { one, other } = await channels({ maxFrameBytes: 1_000 });
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    for (const value of [1n, cycle, undefined, () => 1]) {
      await expect(one.send(value)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', delivery: 'not-sent' });
    }
    await expect(one.send('x'.repeat(2_000))).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'not-sent',
    });
    await one.send('fine');
    expect(await other.next()).toEqual({ done: false, value: 'fine' });
  });

  it('holds back a sender whose peer does not read, and lets it go on', async () => {
    const { one, other } = await channels();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 1_000; sent += 1) await one.send(BIG);
    })();
    let before = -1;
    // The windows fill at the pace of the machine: over when nothing has left for a while.
    await eventually('the sender stands still', async () => {
      before = sent;
      await pause(300);
      return sent > 0 && sent === before;
    });
    const stuckAt = sent;
    expect(stuckAt).toBeLessThan(500);
    expect(one.congested).toBe(true);
    await pause(100); // Nothing more may leave meanwhile.
    expect(sent).toBe(stuckAt);
    let got = 0;
    for await (const _ of other) {
      got += 1;
      if (got === 1_000) break;
    }
    await within(sending, 5_000, 'the sender');
  });

  it('leaves out what is not JSON, and says so once', async () => {
    const { near, other, faults } = await channels();
    near.write(
      Buffer.concat([
        frame(Buffer.from('{')),
        frame(Buffer.of(0xff, 0xfe)),
        frame(Buffer.of()),
        frame('fine'),
      ]),
    );
    expect(await other.next()).toEqual({ done: false, value: 'fine' });
    expect(faults).toEqual([expect.stringContaining('is not JSON; it is ignored')]);
  });

  it('ends with an error at a value over the limit, since a hole in a stream of values is a loss', async () => {
    const { near, other } = await channels({ maxFrameBytes: 1_000 });
    near.write(Buffer.concat([frame('first'), frame('x'.repeat(2_000)), frame('after')]));
    expect(await other.next()).toEqual({ done: false, value: 'first' });
    const error = await failureOf(other.next());
    expect(error.code).toBe('RESOURCE_EXHAUSTED');
    expect(error.rawMessage).toContain('limits.maxFrameBytes');
  });
});

describe('The end of a raw channel', () => {
  it.each<[string, (made: Channels) => void]>([
    ['the connection breaks', (made) => made.breakSocket()],
    ['the session is destroyed', (made) => made.far.session?.destroy()],
    ['the peer resets it', ({ far }) => resetStream(far, 2)],
    ['the peer closes it with an error', ({ other }) => other.close(new MeshError('INTERNAL', 'a bug'))],
  ])('is an error for the reader when %s: it never looks like the end of the values', async (_, lose) => {
    const made = await channels();
    await made.other.send('first');
    expect(await made.one.next()).toEqual({ done: false, value: 'first' });
    const waiting = failureOf(made.one.next());
    lose(made);
    expect((await within(waiting, 2_000)).name).toBe('MeshError');
    expect(await made.one.whenClosed).toMatchObject({ name: 'MeshError' });
    await expect(made.one.send(1)).rejects.toMatchObject({ name: 'MeshError' });
  });

  it('leaves what has come before to the reader', async () => {
    const made = await channels();
    await made.other.send(1);
    await made.other.send(2);
    await eventually(
      'both have come',
      () => made.near.readableLength === 0 && made.one['arrivedBytes'] === 2,
    );
    made.breakSocket();
    await made.one.whenClosed;
    expect(await made.one.next()).toEqual({ done: false, value: 1 });
    expect(await made.one.next()).toEqual({ done: false, value: 2 });
    await expect(made.one.next()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('is no error for a reader whose peer had ended its half before the connection broke', async () => {
    const made = await channels();
    await made.other.send('all');
    made.other.end();
    await eventually('the end has come', () => made.one.inputEnded);
    made.breakSocket();
    expect(await made.one.whenClosed).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await readAll(made.one)).toEqual(['all']);
  });

  it('comes to both sides when a reader leaves its loop', async () => {
    const { one, other } = await channels();
    void other.send(1);
    for await (const _ of one) break;
    expect(await within(other.whenClosed, 2_000)).toBeUndefined();
    await expect(other.send(2)).rejects.toMatchObject({ code: 'UNAVAILABLE', delivery: 'not-sent' });
  });

  it('is told to a reader that waits when this side closes', async () => {
    const { one } = await channels();
    const waiting = one.next();
    one.close();
    expect(await within(waiting, 1_000)).toEqual({ done: true, value: undefined });
    one.close();
    one.end();
  });
});
