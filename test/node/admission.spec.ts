/** A limit of calls handled at a time, on a clock of the test: who begins, who waits and who is refused. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Admission, type AdmittedCall } from '../../lib/node/admission.js';
import type { MeshError } from '../../lib/protocol/mesh-error.js';
import type { Timed } from '../../lib/transport/deadline-queue.js';
import type { CallTurn } from '../../lib/transport/inbound-call.js';

/** Time that passes when the test says so, with the time limits that wait in it. */
class Clock {
  private nowMs = 1_000;
  readonly waiting = new Map<Timed, number>();
  readonly now = (): number => this.nowMs;
  readonly deadlines = {
    add: (entry: Timed, timeoutMs: number): void => void this.waiting.set(entry, this.nowMs + timeoutMs),
    remove: (entry: Timed): void => void this.waiting.delete(entry),
  };

  pass(ms: number): void {
    this.nowMs += ms;
    for (const [entry, atMs] of [...this.waiting]) {
      if (atMs > this.nowMs || !this.waiting.delete(entry)) continue;
      entry.onTimeout();
    }
  }
}

class TestCall implements AdmittedCall {
  turn: CallTurn | undefined;
  begun = 0;
  readonly refusals: MeshError[] = [];

  constructor(
    readonly name: number,
    readonly deadline: number | undefined,
  ) {}

  expire(reason: MeshError): void {
    this.refusals.push(reason);
    this.turn?.settled();
  }

  /** Its handler answers, and ends. */
  end(): void {
    this.turn?.settled();
  }

  /** Its caller cancels. */
  cancel(): void {
    this.turn?.settled();
  }
}

class Stage {
  readonly clock = new Clock();
  readonly begun: number[] = [];
  readonly calls: TestCall[] = [];
  readonly admission: Admission<TestCall, undefined>;

  constructor(maxConcurrency: number, maxQueue = maxConcurrency, handle?: (call: TestCall) => void) {
    this.admission = new Admission({ maxConcurrency, maxQueue }, this.clock, (call: TestCall) => {
      call.begun += 1;
      this.begun.push(call.name);
      handle?.(call);
    });
  }

  /** A call arrives, with so much time left. */
  call(leftMs?: number): TestCall {
    const deadline = leftMs === undefined ? undefined : this.clock.now() + leftMs;
    const call = new TestCall(this.calls.length, deadline);
    this.calls.push(call);
    this.admission.admit(call, undefined);
    return call;
  }

  /** So many handlers at a time have taken so long: the admission knows the mean. */
  learn(count: number, tookMs: number): void {
    const calls = Array.from({ length: count }, () => this.call());
    this.clock.pass(tookMs);
    for (const call of calls) call.end();
    this.begun.length = 0;
  }
}

describe('A node with maxConcurrency', () => {
  it('begins calls up to the limit, and those that wait in the order in which they came', () => {
    const stage = new Stage(2, 3);
    const calls = Array.from({ length: 5 }, () => stage.call());
    expect(stage.begun).toEqual([0, 1]);
    expect(stage.admission.queued).toBe(3);
    calls[1]?.end();
    calls[0]?.end();
    calls[2]?.end();
    expect(stage.begun).toEqual([0, 1, 2, 3, 4]);
    expect(stage.admission.handled).toBe(2);
  });

  it('refuses a call that finds the queue full, with a hint made of what waits', () => {
    const stage = new Stage(2, 4);
    stage.learn(2, 100);
    Array.from({ length: 6 }, () => stage.call());
    const [refusal] = stage.call().refusals;
    // Four calls wait, two are handled in 100 ms: in 200 ms the queue is empty.
    expect(refusal).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'refused',
      details: { retryAfterMs: 200 },
    });
    expect(refusal?.message).toContain('maxConcurrency 2, maxQueue 4');
    expect(stage.admission.refused).toBe(1);
  });

  it.each([
    [1, 10],
    [60_000, 5_000],
  ])('hints at a time within bounds: handlers that take %d ms, %d ms', (tookMs, retryAfterMs) => {
    const stage = new Stage(1, 1);
    stage.learn(1, tookMs);
    stage.call();
    stage.call();
    expect(stage.call().refusals).toMatchObject([{ details: { retryAfterMs } }]);
  });

  it('refuses at once what cannot make its deadline, and queues what can', () => {
    const stage = new Stage(1, 10);
    stage.learn(1, 100);
    stage.call();
    expect(stage.call(99).refusals).toMatchObject([{ code: 'RESOURCE_EXHAUSTED', delivery: 'refused' }]);
    expect(stage.call(101).refusals).toEqual([]);
    // Behind the one that waits, it is 200 ms.
    expect(stage.call(199).refusals).toHaveLength(1);
    expect(stage.call(201).refusals).toEqual([]);
    expect(stage.call().refusals).toEqual([]);
    expect(stage.admission.queued).toBe(3);
  });

  it('with maxQueue 0 has nothing wait', () => {
    const stage = new Stage(1, 0);
    const first = stage.call();
    expect(stage.call().refusals).toHaveLength(1);
    first.end();
    expect(stage.call().refusals).toEqual([]);
  });

  it('forgets a call at once that is cancelled while it waits', () => {
    const stage = new Stage(1, 2);
    const first = stage.call();
    const second = stage.call(1_000);
    stage.call(1_000);
    second.cancel();
    expect(stage.admission.queued).toBe(1);
    expect(stage.clock.waiting.size).toBe(1);
    first.end();
    expect(stage.begun).toEqual([0, 2]);
    expect(stage.clock.waiting.size).toBe(0);
  });

  it('ends a call whose time is over while it waits, as refused', () => {
    const stage = new Stage(1, 2);
    stage.call();
    const late = stage.call(50);
    stage.clock.pass(50);
    expect(late.refusals).toMatchObject([{ code: 'DEADLINE_EXCEEDED', delivery: 'refused' }]);
    expect(stage.admission.queued).toBe(0);
    expect(late.begun).toBe(0);
  });

  it('counts a call until its handler has ended, also when its caller has given up before', () => {
    const stage = new Stage(1, 1);
    const first = stage.call();
    const { turn } = first;
    turn?.hold();
    stage.call();
    first.cancel();
    expect(stage.begun).toEqual([0]);
    turn?.release();
    turn?.release();
    expect(stage.begun).toEqual([0, 1]);
    expect(stage.admission.handled).toBe(1);
  });

  it('refuses what waits when it drains, and from then on what would have to, so that callers move it', () => {
    const stage = new Stage(1, 2);
    const first = stage.call();
    const waiting = [stage.call(1_000), stage.call()];
    stage.admission.drain();
    const moved = { code: 'UNAVAILABLE', delivery: 'refused' };
    for (const call of [...waiting, stage.call()]) expect(call.refusals).toMatchObject([moved]);
    expect(first.refusals).toEqual([]);
    first.end();
    // What had crossed the drain on its way, and finds room, is answered.
    expect(stage.call().begun).toBe(1);
    expect(stage.clock.waiting.size).toBe(0);
  });

  it('begins any number of calls whose handlers end at once, without a stack of them', () => {
    const many = 50_000;
    const stage = new Stage(1, many, (call) => {
      if (call.name > 0) call.end();
    });
    const first = stage.call();
    for (let n = 0; n < many; n += 1) stage.call();
    first.end();
    expect(stage.begun).toHaveLength(many + 1);
    expect(stage.admission.handled).toBe(0);
  });

  it('never handles more than it may, begins or refuses each call exactly once, and keeps nothing of it', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('call' as const), leftMs: fc.option(fc.integer({ min: 1, max: 300 })) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 100 }) }),
      fc.record({ kind: fc.constantFrom('end' as const, 'cancel' as const), which: fc.nat() }),
      fc.record({ kind: fc.constant('drain' as const) }),
    );
    const limits = fc.record({
      maxConcurrency: fc.integer({ min: 1, max: 4 }),
      maxQueue: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(
      fc.property(limits, fc.array(step, { maxLength: 100 }), ({ maxConcurrency, maxQueue }, steps) => {
        const stage = new Stage(maxConcurrency, maxQueue);
        const { admission, clock, calls } = stage;
        const over = new Set<TestCall>();
        const settle = (call: TestCall): void => {
          over.add(call);
          call.end();
        };
        for (const one of steps) {
          if (one.kind === 'call') stage.call(one.leftMs ?? undefined);
          else if (one.kind === 'pass') clock.pass(one.ms);
          else if (one.kind === 'drain') admission.drain();
          else {
            const open = calls.filter(
              (call) =>
                !over.has(call) &&
                call.refusals.length === 0 &&
                (one.kind === 'cancel' ? call.begun === 0 : call.begun === 1),
            );
            const call = open[one.which % Math.max(1, open.length)];
            if (call !== undefined) settle(call);
          }
          const running = calls.filter((call) => call.begun === 1 && !over.has(call)).length;
          expect(admission.handled).toBe(running);
          expect(running).toBeLessThanOrEqual(maxConcurrency);
          expect(admission.queued).toBeLessThanOrEqual(maxQueue);
          // Nobody waits while there is room.
          if (running < maxConcurrency) expect(admission.queued).toBe(0);
        }
        expect(stage.begun).toEqual([...stage.begun].sort((left, right) => left - right));
        for (const call of calls) if (!over.has(call) && call.begun === 1) settle(call);
        for (const call of calls) if (!over.has(call) && call.begun === 1) settle(call);
        while (admission.handled > 0)
          for (const call of calls) if (!over.has(call) && call.begun === 1) settle(call);
        for (const call of calls) {
          const ends = call.begun + call.refusals.length;
          expect(ends).toBe(over.has(call) && call.begun === 0 ? 0 : 1);
        }
        expect(admission.queued).toBe(0);
        expect(clock.waiting.size).toBe(0);
      }),
    );
  });
});
