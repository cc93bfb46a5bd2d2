/** One direction of a connection in memory carries what was written, all of it and in order, whatever faults come and go. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Flow, type FlowFaults } from '../../lib/testing/flow.js';
import { eventually, pause } from '../support/eventually.js';

const SOUND: FlowFaults = { dropped: false, delayMs: 0, bytesPerSecond: Infinity };

/** A flow, what has arrived of it, and the way to change its faults. */
function flowWith(first: Partial<FlowFaults> = {}) {
  let faults = { ...SOUND, ...first };
  const arrived: Buffer[] = [];
  let room = true;
  const flow = new Flow(
    () => faults,
    (bytes) => {
      arrived.push(bytes);
      return room;
    },
  );
  return {
    flow,
    arrived: () => Buffer.concat(arrived),
    set: (next: Partial<FlowFaults>) => {
      faults = { ...SOUND, ...next };
      flow.refresh();
    },
    setRoom: (next: boolean) => {
      room = next;
      if (next) flow.pull();
    },
  };
}

const anyFaults = fc.record(
  {
    dropped: fc.boolean(),
    delayMs: fc.constantFrom(0, 1, 5),
    bytesPerSecond: fc.constantFrom(0, 500, 1_000_000),
  },
  { requiredKeys: [] },
);

describe('A flow', () => {
  it('loses, doubles and swaps nothing, whatever faults come and go', async () => {
    const steps = fc.array(fc.tuple(fc.uint8Array({ maxLength: 3_000 }), anyFaults, fc.boolean()), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(steps, async (writes) => {
        const { flow, arrived, set, setRoom } = flowWith();
        for (const [bytes, faults, room] of writes) {
          set(faults);
          setRoom(room);
          flow.write(Buffer.from(bytes), () => undefined);
          await Promise.resolve();
        }
        set({});
        setRoom(true);
        const sent = Buffer.concat(writes.map(([bytes]) => bytes));
        await eventually('everything has arrived', () => arrived().length === sent.length);
        expect(arrived().equals(sent)).toBe(true);
        flow.close();
      }),
      { numRuns: 50 },
    );
  });

  it('makes the writer wait when more than the buffers of two sockets is on its way', async () => {
    const { flow, set } = flowWith({ dropped: true });
    let accepted = 0;
    for (let n = 0; n < 3; n += 1) flow.write(Buffer.alloc(100 * 1024), () => (accepted += 1));
    await pause(5); // So that it could have called back.
    expect(accepted).toBe(2);
    set({});
    await eventually('the writer may go on', () => accepted === 3);
    flow.close();
  });

  it('gives what is no bytes its place among them', async () => {
    const { flow, arrived, set } = flowWith({ dropped: true });
    let before: Buffer | undefined;
    flow.write(Buffer.from('a'), () => undefined);
    flow.signal(() => {
      before = arrived();
    });
    flow.write(Buffer.from('b'), () => undefined);
    set({});
    await eventually('everything has arrived', () => arrived().length === 2);
    expect(String(before)).toBe('a');
    flow.close();
  });

  it('lets its writer go when nobody receives any more', () => {
    const { flow } = flowWith({ dropped: true });
    let released = false;
    flow.write(Buffer.alloc(1024 * 1024), () => (released = true));
    expect(released).toBe(false);
    flow.close();
    expect(released).toBe(true);
  });
});
