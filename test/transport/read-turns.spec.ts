/** Reading a part of what has come, and the rest in later turns. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MAX_HELD_BYTES, ReadTurns, TURN_BYTES, WHOLE_FRAME_BYTES } from '../../lib/transport/read-turns.js';

/** What was read, in one piece. */
function recorder(frameBytes = 0): { turns: ReadTurns; read: () => Buffer } {
  const parts: Buffer[] = [];
  const turns = new ReadTurns(
    (part) => parts.push(part),
    () => frameBytes,
  );
  return { turns, read: () => Buffer.concat(parts) };
}

function chunkOf(bytes: number, seed = 0): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, at) => at + seed));
}

describe('Chunks that are read in turns', () => {
  it('are read whole and in order, however they come', async () => {
    const lengths = fc.array(fc.oneof(fc.nat(200), fc.nat(40 * 1024), fc.constant('turn' as const)), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(lengths, async (steps) => {
        const { turns, read } = recorder();
        const sent: Buffer[] = [];
        for (const step of steps) {
          if (step === 'turn') await nextTurn();
          else {
            const chunk = chunkOf(step, sent.length);
            sent.push(chunk);
            turns.push(chunk);
          }
          expect(Buffer.concat(sent).subarray(0, read().length).equals(read())).toBe(true);
        }
        turns.finish();
        expect(read().equals(Buffer.concat(sent))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('are read at once when they are small and nothing is held back', () => {
    const { turns, read } = recorder();
    for (let at = 0; at < 10; at += 1) turns.push(chunkOf(TURN_BYTES));
    expect(read()).toHaveLength(10 * TURN_BYTES);
  });

  it('are read at once when the frames in them are as large as turns', () => {
    const { turns, read } = recorder(WHOLE_FRAME_BYTES);
    turns.push(chunkOf(3 * TURN_BYTES));
    expect(read()).toHaveLength(3 * TURN_BYTES);
  });

  it('leave room between their parts for what those ask for', async () => {
    const { turns, read } = recorder();
    turns.push(chunkOf(3 * TURN_BYTES));
    const lengths = [read().length];
    while (read().length < 3 * TURN_BYTES) {
      await nextTurn();
      lengths.push(read().length);
    }
    expect(lengths).toEqual([1, 2, 3].map((turn) => turn * TURN_BYTES));
  });

  it('take few turns, though much has come', async () => {
    const { turns, read } = recorder();
    turns.push(chunkOf(MAX_HELD_BYTES));
    let count = 1;
    for (; read().length < MAX_HELD_BYTES; count += 1) await nextTurn();
    expect(count).toBeLessThan(8);
  });

  it('are not held back without a bound when they come faster than turns', () => {
    const { turns, read } = recorder();
    for (let at = 1; at <= 40; at += 1) {
      turns.push(chunkOf(16 * 1024));
      expect(at * 16 * 1024 - read().length).toBeLessThanOrEqual(MAX_HELD_BYTES);
    }
  });
});
