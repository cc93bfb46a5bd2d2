/** The ledger of events that have not left yet: right whatever the order of sending and writing, and it does not grow. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EventLedger } from '../../lib/transport/event-ledger.js';

describe('the ledger of events', () => {
  it('counts exactly the events whose frames were not written', () => {
    // Each step: an event, another frame, or so many of the queued frames are written.
    const step = fc.oneof(fc.constant('event'), fc.constant('other'), fc.nat(5));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2_000 }), (steps) => {
        const ledger = new EventLedger();
        const events: number[] = [];
        let queued = 0;
        let written = 0;
        for (const one of steps) {
          if (typeof one === 'number') written = Math.min(queued, written + one);
          else {
            if (one === 'event') {
              ledger.note(queued, written);
              events.push(queued);
            }
            queued += 1;
          }
        }
        expect(ledger.unsent(written)).toBe(events.filter((frame) => frame >= written).length);
      }),
    );
  });

  it('forgets what was written, also when something always waits', () => {
    const ledger = new EventLedger();
    // Every other frame is something else, so that no two events follow each other.
    for (let frame = 0; frame < 20_000; frame += 2) ledger.note(frame, Math.max(0, frame - 6));
    expect(ledger['runs'].length).toBeLessThan(600);
    expect(ledger.unsent(19_994)).toBe(3);
  });

  it('keeps one entry for events that follow each other', () => {
    const ledger = new EventLedger();
    for (let frame = 0; frame < 10_000; frame += 1) ledger.note(frame, frame < 500 ? 0 : 500);
    expect(ledger['runs']).toHaveLength(1);
    expect(ledger.unsent(500)).toBe(9_500);
  });
});
