/** Frames over a real HTTP/2 stream: one write a turn, backpressure both ways, and every end told once. */
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { Http2Stream } from 'node:http2';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { encodeFrame } from '../../lib/protocol/frame.js';
import { CONGESTED_BYTES, FrameStream } from '../../lib/transport/frame-stream.js';
import { STREAM_WINDOW_BYTES, MAX_HTTP2_FRAME_BYTES } from '../../lib/transport/http2-settings.js';
import { SESSION_WINDOW_BYTES } from '../../lib/transport/session-window.js';
import { eventually, pause, stillPending, within } from '../support/eventually.js';
import { failureOf } from '../support/mesh-fixture.js';
import { frame, prefix } from '../support/raw-peer.js';
import { limitsWith, Reading, streamPair, type StreamPair } from '../support/stream-pair.js';

const pairs: StreamPair[] = [];

async function pair(): Promise<StreamPair> {
  const made = await streamPair();
  pairs.push(made);
  return made;
}

function framesOf(stream: Http2Stream, limits = {}): { frames: FrameStream; reading: Reading } {
  const frames = new FrameStream(stream, limitsWith(limits), 'the channel under test');
  const reading = new Reading();
  frames.start(reading);
  return { frames, reading };
}

function rssMb(): number {
  return process.memoryUsage.rss() / 1024 / 1024;
}

const MIB = 'x'.repeat(1024 * 1024);

afterEach(async () => {
  for (const made of pairs.splice(0)) await made.close();
});

describe('Frames on their way out', () => {
  it('leave together in one write when they are ready in one turn', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near);
    const { reading } = framesOf(far);
    const write = jest.spyOn(near, 'write');
    for (let at = 0; at < 500; at += 1) frames.send(`{"n":${at}}`);
    void Promise.resolve().then(() => frames.send('"from a microtask"'));
    await eventually('all have come', () => reading.frames.length === 501);
    expect(write).toHaveBeenCalledTimes(1);
    expect(reading.texts[499]).toBe('{"n":499}');
  });

  it('come whole and in order when 12,000 of them leave in one write', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near);
    const { reading } = framesOf(far);
    for (let at = 0; at < 12_000; at += 1) frames.send(String(at));
    await eventually('all have come', () => reading.frames.length === 12_000);
    expect(reading.texts.every((text, at) => text === String(at))).toBe(true);
    expect(frames.framesQueued).toBe(12_000);
    expect(frames.framesWritten).toBe(12_000);
  });

  it('fail at once, here, when they are longer than limits.maxFrameBytes', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near, { maxFrameBytes: 100 });
    const { reading } = framesOf(far);
    expect(() => frames.send('x'.repeat(101))).toThrow(
      expect.objectContaining({
        code: 'RESOURCE_EXHAUSTED',
        delivery: 'not-sent',
        message: expect.stringContaining('101 bytes is over limits.maxFrameBytes (100)'),
      }),
    );
    // 34 characters, 102 bytes.
    expect(() => frames.send('€'.repeat(34))).toThrow('limits.maxFrameBytes');
    frames.send('€'.repeat(33));
    await eventually('the short one has come', () => reading.frames.length === 1);
  });

  it('fail at once, here, when the peer does not read and limits.maxPendingBytes wait already', async () => {
    const { near } = await pair();
    const { frames } = framesOf(near, { maxPendingBytes: 4 * 1024 * 1024 });
    const fill = async (): Promise<void> => {
      for (let at = 0; at < 1_000; at += 1) {
        frames.send(MIB);
        await pause(0); // A turn of the event loop, so that what can leave has left.
      }
    };
    await expect(fill()).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'not-sent',
      message: expect.stringMatching(
        /does not read: \d+ bytes wait, over limits.maxPendingBytes \(4194304\)/,
      ),
    });
    expect(frames.pendingBytes).toBeLessThan(6 * 1024 * 1024);
  });

  it('are refused once our half has ended or the stream is gone', async () => {
    const { near } = await pair();
    const { frames, reading } = framesOf(near);
    frames.end();
    expect(() => frames.send('1')).toThrow(
      expect.objectContaining({ code: 'UNAVAILABLE', delivery: 'not-sent' }),
    );
    frames.destroy();
    await eventually('it has closed', () => reading.closed);
    expect(() => frames.send('1')).toThrow('is closed');
  });
});

describe('A sender ahead of its peer', () => {
  it('waits in ready() while the peer does not read, holds little, and goes on when it reads', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near);
    const before = rssMb();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 200; sent += 1) {
        frames.send(MIB);
        await frames.ready();
      }
    })();
    expect(await stillPending(sending, 500)).toBe(true);
    const stuckAt = sent;
    // The window of the stream (16 MiB), what the kernel holds, and one batch.
    expect(stuckAt).toBeLessThan(60);
    expect(frames.congested).toBe(true);
    expect(frames.pendingBytes).toBeLessThan(CONGESTED_BYTES * 4);
    expect(rssMb() - before).toBeLessThan(250);
    await pause(100); // Nothing more may leave meanwhile.
    expect(sent).toBe(stuckAt);
    const { reading } = framesOf(far);
    await within(sending, 10_000, 'the rest');
    await eventually('all have come', () => reading.frames.length === 200, 10_000);
  });

  it('is told when the stream ends while it waits', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near);
    for (let at = 0; at < 20; at += 1) frames.send(MIB);
    const ready = failureOf(frames.ready());
    await pause(20); // So that the bytes are on their way.
    far.session?.destroy();
    expect((await within(ready, 2_000)).code).toBe('UNAVAILABLE');
  });

  it('sees ready() resolve when everything has left although it has ended its half meanwhile', async () => {
    const { near, far } = await pair();
    const { frames } = framesOf(near);
    const { reading } = framesOf(far);
    for (let at = 0; at < 8; at += 1) frames.send(MIB);
    const ready = frames.ready();
    frames.end();
    await within(ready, 2_000, 'ready()');
    await eventually('the end has come', () => reading.ended);
    expect(reading.frames).toHaveLength(8);
  });
});

describe('A reader that pauses', () => {
  it('holds the peer back, and loses nothing when it goes on', async () => {
    const { near, far } = await pair();
    const { frames: out } = framesOf(near);
    const { frames: slow, reading } = framesOf(far);
    slow.pause();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 100; sent += 1) {
        out.send(MIB);
        await out.ready();
      }
    })();
    expect(await stillPending(sending, 300)).toBe(true);
    expect(sent).toBeLessThan(60);
    slow.resume();
    await within(sending, 10_000);
    await eventually('all have come', () => reading.frames.length === 100, 10_000);
  });
});

describe('Frames on their way in', () => {
  it('are whole when their length prefix and their body lie across many DATA frames', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near);
    const bytes = Buffer.concat([frame('first'), frame({ second: 'ä€😀' }), frame([])]);
    for (const byte of bytes) {
      far.write(Buffer.of(byte));
      await pause(0); // Each byte in a DATA frame of its own.
    }
    await eventually('all have come', () => reading.frames.length === 3);
    expect(reading.texts).toEqual(['"first"', '{"second":"ä€😀"}', '[]']);
  });

  it('may be empty', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near);
    far.write(Buffer.concat([prefix(0), frame('after')]));
    await eventually('both have come', () => reading.frames.length === 2);
    expect(reading.texts).toEqual(['', '"after"']);
  });

  it('are skipped and told when they are longer than the limit; the next one is read', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { maxFrameBytes: 1_000 });
    far.write(Buffer.concat([encodeFrame('x'.repeat(5_000)), frame('after')]));
    await eventually('the next one has come', () => reading.frames.length === 1);
    expect(reading.oversize).toEqual([5_000]);
    expect(reading.closed).toBe(false);
  });

  it('end the stream when their length shows that the peer speaks something else', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { maxFrameBytes: 1_000 });
    far.write(Buffer.from('GET / HTTP/1.1\r\n'));
    await eventually('it has closed', () => reading.closed);
    expect(reading.closes).toEqual([expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' })]);
    expect(reading.closes[0]?.message).toContain("the peer's framing cannot be trusted");
  });

  it('that are cut short by the end of the stream are a loss, and say so', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near);
    far.end(Buffer.concat([frame('whole'), prefix(100), Buffer.from('"only a part')]));
    await eventually('it has closed', () => reading.closed);
    expect(reading.texts).toEqual(['"whole"']);
    expect(reading.ended).toBe(false);
    expect(reading.closes).toEqual([expect.objectContaining({ code: 'DATA_LOSS' })]);
    expect(reading.closes[0]?.message).toContain('after 12 of 100 bytes');
  });
});

describe('Frames that ask for answers', () => {
  /** Answers every frame with itself, and counts how many it had read at each write. */
  async function echo(): Promise<{ near: FrameStream; reading: Reading; readAtWrites: number[] }> {
    const { near, far } = await pair();
    const server = new FrameStream(far, limitsWith(), 'the echo');
    const readAtWrites: number[] = [];
    let read = 0;
    const { write } = far;
    far.write = ((chunk: Buffer) => {
      readAtWrites.push(read);
      return Reflect.apply(write, far, [chunk]) as boolean;
    }) as typeof far.write;
    server.start({
      answersFrames: true,
      onFrame(payload) {
        read += 1;
        server.send(Buffer.from(payload));
      },
      onOversize: () => undefined,
      onEnd: () => server.end(),
      onClose: () => undefined,
    });
    const { frames, reading } = framesOf(near);
    return { near: frames, reading, readAtWrites };
  }

  it('have their answers sent before all that has come at once is read', async () => {
    const { near, reading, readAtWrites } = await echo();
    for (let at = 0; at < 150; at += 1) near.send(JSON.stringify({ at, text: 'x'.repeat(100) }));
    await eventually('all are answered', () => reading.frames.length === 150);
    expect(readAtWrites[0]).toBeLessThan(100);
    // Few enough that what each write costs does not count.
    expect(readAtWrites.length).toBeLessThan(6);
  });

  it('leave in one write when few have come', async () => {
    const { near, reading, readAtWrites } = await echo();
    for (let at = 0; at < 30; at += 1) near.send(JSON.stringify({ at, text: 'x'.repeat(100) }));
    await eventually('all are answered', () => reading.frames.length === 30);
    expect(readAtWrites).toEqual([30]);
  });

  it('are all read before the end of the input is told', async () => {
    const { near, reading } = await echo();
    for (let at = 0; at < 500; at += 1) near.send(JSON.stringify({ at, text: 'x'.repeat(100) }));
    near.end();
    await eventually('it has closed', () => reading.closed);
    expect(reading.frames).toHaveLength(500);
    expect(reading.closes).toEqual([undefined]);
  });
});

describe('A frame that stands still', () => {
  it('ends the stream after limits.incompleteFrameTimeoutMs', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { incompleteFrameTimeoutMs: 60 });
    const started = performance.now();
    far.write(Buffer.concat([prefix(100), Buffer.from('half')]));
    await eventually('it has closed', () => reading.closed);
    expect(performance.now() - started).toBeGreaterThanOrEqual(59);
    expect(reading.closes[0]?.message).toContain('stood still for 60 ms (limits.incompleteFrameTimeoutMs)');
  });

  it('may take long as long as bytes come', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { incompleteFrameTimeoutMs: 300 });
    for (const byte of frame('a slow trickle of many bytes')) {
      far.write(Buffer.of(byte));
      await pause(20); // All in all twice the limit.
    }
    await eventually('it has come', () => reading.frames.length === 1);
    expect(reading.closed).toBe(false);
  });

  it('is nothing that an idle peer does', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { incompleteFrameTimeoutMs: 30 });
    far.write(frame('done'));
    await pause(120); // Four times the limit.
    expect(reading.closed).toBe(false);
    far.write(frame('again'));
    await eventually('the second has come', () => reading.frames.length === 2);
  });

  it('may stand as long as this side does not want to read', async () => {
    const { near, far } = await pair();
    const { frames, reading } = framesOf(near, { incompleteFrameTimeoutMs: 40 });
    const whole = frame('x'.repeat(1_000));
    far.write(whole.subarray(0, 500));
    await pause(10); // The first half arrives.
    frames.pause();
    const timer = jest.spyOn(globalThis, 'setTimeout');
    await pause(200); // Five times the limit.
    // It looks at most once in each period: nothing here may spin.
    expect(timer.mock.calls.length).toBeLessThan(15);
    timer.mockRestore();
    expect(reading.closed).toBe(false);
    far.write(whole.subarray(500));
    frames.resume();
    await eventually('it has come', () => reading.frames.length === 1);
  });

  it('may stand for ever when the limit is 0', async () => {
    const { near, far } = await pair();
    const { reading } = framesOf(near, { incompleteFrameTimeoutMs: 0 });
    far.write(prefix(10));
    await pause(50); // There is no period to wait for.
    expect(reading.closed).toBe(false);
  });
});

describe('The end of a frame stream', () => {
  it('in order is told without an error, after the end of the input', async () => {
    const { near, far } = await pair();
    const one = framesOf(near);
    const other = framesOf(far);
    one.frames.send('1');
    one.frames.end();
    await eventually('the end has come', () => other.reading.ended);
    expect(other.reading.texts).toEqual(['1']);
    other.frames.end();
    await eventually('both have closed', () => one.reading.closed && other.reading.closed);
    expect(one.reading.closes).toEqual([undefined]);
    expect(other.reading.closes).toEqual([undefined]);
  });

  it('lets what was sent before leave when both halves are ended at once', async () => {
    const { near, far } = await pair();
    const one = framesOf(near);
    const other = framesOf(far);
    for (let at = 0; at < 100; at += 1) one.frames.send(String(at));
    one.frames.destroy();
    await eventually('both have closed', () => one.reading.closed && other.reading.closed);
    expect(other.reading.frames).toHaveLength(100);
  });

  it.each<[string, (made: StreamPair) => void]>([
    ['the session is destroyed', ({ far }) => far.session?.destroy()],
    ['the connection breaks', (made) => made.breakSocket()],
  ])('is an error on both sides, and no end of the input, when %s', async (_, lose) => {
    const made = await pair();
    const one = framesOf(made.near);
    const other = framesOf(made.far);
    lose(made);
    await eventually('both have closed', () => one.reading.closed && other.reading.closed);
    for (const { reading } of [one, other]) {
      expect(reading.closes).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
      expect(reading.ended).toBe(false);
    }
  });

  it('with an error reaches the peer as a reset, and never as an end in order', async () => {
    const { near, far } = await pair();
    const one = framesOf(near);
    const other = framesOf(far);
    one.frames.destroy(new MeshError('CANCELLED', 'the reader has gone'));
    await eventually('both have closed', () => one.reading.closed && other.reading.closed);
    expect(one.reading.closes[0]?.rawMessage).toBe('the reader has gone');
    expect(other.reading.ended).toBe(false);
    expect(other.reading.closes).toEqual([expect.objectContaining({ code: 'CANCELLED' })]);
  });

  it.each([
    ['CANCEL', 8, 'CANCELLED'],
    ['REFUSED_STREAM', 7, 'UNAVAILABLE'],
    ['ENHANCE_YOUR_CALM', 11, 'RESOURCE_EXHAUSTED'],
    ['INTERNAL_ERROR', 2, 'UNAVAILABLE'],
  ])('by a reset with %s is told in its own words', async (_, rstCode, code) => {
    const { near, far } = await pair();
    const { reading } = framesOf(near);
    far.close(rstCode);
    await eventually('it has closed', () => reading.closed);
    expect(reading.closes).toEqual([expect.objectContaining({ code })]);
    expect(reading.closes[0]?.message).toContain('the channel under test');
  });

  it('is told once, also for a stream that was gone before it was started', async () => {
    const { near } = await pair();
    near.destroy();
    const { reading } = framesOf(near);
    await eventually('it has closed', () => reading.closed);
    await pause(20); // A second time would come by now.
    expect(reading.closes).toHaveLength(1);
  });
});

describe('The settings of a session', () => {
  it('open windows and frames wide enough for a fast link, on both sides', async () => {
    const { near, far } = await pair();
    for (const { session } of [near, far]) {
      expect(session?.remoteSettings).toMatchObject({
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxFrameSize: MAX_HTTP2_FRAME_BYTES,
        enablePush: false,
      });
      expect(session?.state.effectiveLocalWindowSize).toBe(SESSION_WINDOW_BYTES);
    }
  });
});
