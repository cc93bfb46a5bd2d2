/** Calls that their handler does not answer in time: they end once, whatever the channel is worth by then. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import type { ResponsePacket } from '../../lib/protocol/packet.js';
import { DeadlineQueue } from '../../lib/transport/deadline-queue.js';
import { InboundCall, type ReplyCarrier } from '../../lib/transport/inbound-call.js';

const deadlines = new DeadlineQueue();
beforeEach(() => void jest.useFakeTimers());
afterEach(() => {
  deadlines.clear();
  jest.useRealTimers();
});

function open(timeout?: number, reply?: () => never) {
  const packets: ResponsePacket[] = [];
  let settled = 0;
  const carrier: ReplyCarrier = {
    reply: reply ?? ((packet) => void packets.push(packet)),
    ready: () => Promise.resolve(),
    isCongested: () => false,
    settle: () => void (settled += 1),
  };
  const call = new InboundCall({ id: 1, pattern: 'slow', timeout }, carrier);
  return { call, packets, settled: () => settled };
}

describe('A call with a limit of its handler', () => {
  it.each([
    [undefined, 100, 100, '100 ms (timeoutMs of its handler)'],
    [500, 100, 100, '100 ms (timeoutMs of its handler)'],
    [50, 100, 50, 'the 50 ms that its caller had left'],
  ])('of a caller with %s ms and %s ms of its own ends after %s ms', (caller, own, at, words) => {
    const { call, packets, settled } = open(caller);
    const cancelled = jest.fn();
    call.onCancel = cancelled;
    call.limit(own, deadlines);
    expect((call.deadline ?? 0) - performance.now()).toBeCloseTo(at, 3);
    jest.advanceTimersByTime(at - 1);
    expect(call.open).toBe(true);
    jest.advanceTimersByTime(2);
    expect(packets).toMatchObject([
      { id: 1, err: { code: 'DEADLINE_EXCEEDED', delivery: 'unknown' }, isDisposed: true, status: 'error' },
    ]);
    expect(JSON.stringify(packets)).toContain(words);
    expect(call.signal.aborted).toBe(true);
    expect(cancelled).toHaveBeenCalledTimes(1);
    expect(settled()).toBe(1);
    call.respond('late');
    expect(packets).toHaveLength(1);
    expect(deadlines.size).toBe(0);
  });

  it('ends when its channel takes nothing any more, and takes nobody down', () => {
    const { call, settled } = open(undefined, () => {
      throw new MeshError('RESOURCE_EXHAUSTED', 'the peer does not read');
    });
    call.limit(100, deadlines);
    const { signal } = call;
    jest.advanceTimersByTime(101);
    expect([call.open, signal.aborted, settled()]).toEqual([false, true, 1]);
  });

  it.each(['respond', 'complete', 'cancel', 'next'] as const)('leaves no timer behind after %s', (how) => {
    const { call, packets } = open();
    call.limit(100, deadlines);
    expect(deadlines.size).toBe(1);
    if (how === 'cancel') call.cancel(new MeshError('CANCELLED', 'gone'));
    else if (how === 'complete') call.complete();
    else call[how](1);
    expect(deadlines.size).toBe(0);
    const before = packets.length;
    jest.advanceTimersByTime(200);
    expect(packets).toHaveLength(before);
  });

  it('of 0 ms has none, and one that has ended gets none', () => {
    const { call } = open();
    call.limit(0, deadlines);
    call.respond(1);
    call.limit(100, deadlines);
    expect(deadlines.size).toBe(0);
  });
});
