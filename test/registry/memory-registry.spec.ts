/** The registry in memory keeps real leases: exact, with clocks that are moved by hand. */
import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openRegistry } from '../../lib/registry/registry-url.js';
import { ManualClock, newRecord, see, settle } from './registry-fixture.js';

describe('the registry in memory', () => {
  it('lets a node go when its lease ends without a heartbeat', async () => {
    const url = `memory:${randomUUID()}`;
    // The clock of the first one stands still: its process hangs, and no heartbeat is ever due.
    const [hung, moving] = [new ManualClock(), new ManualClock()];
    const [a, b] = [openRegistry(url, { clock: hung }), openRegistry(url, { clock: moving })];
    const record = newRecord();
    await a.announce(record);
    const seen = see(b);
    await settle();
    expect(seen.history).toEqual([[record.id]]);
    await moving.advance(9_999);
    expect(seen.history).toEqual([[record.id]]);
    await moving.advance(2_201);
    expect(seen.history).toEqual([[record.id], []]);
    await Promise.all([a.close(), b.close()]);
  });

  it('is one for each name, and is empty again when everybody has left', async () => {
    const name = randomUUID();
    const a = openRegistry(`memory:${name}`);
    const other = see(openRegistry(`memory:${name}-other`));
    await a.announce(newRecord());
    await other.watch.ready;
    expect(other.history).toEqual([[]]);
    other.watch.close();
    await a.close();
    const again = openRegistry(`memory:${name}`);
    const seen = see(again);
    await seen.watch.ready;
    expect(seen.history).toEqual([[]]);
    await again.close();
  });

  it('leaves no timer behind when it is closed', async () => {
    const clock = new ManualClock();
    const registry = openRegistry(`memory:${randomUUID()}`, { clock });
    await registry.announce(newRecord());
    see(registry);
    await settle();
    expect(clock.pending).toBeGreaterThan(0);
    await registry.close();
    expect(clock.pending).toBe(0);
  });
});
