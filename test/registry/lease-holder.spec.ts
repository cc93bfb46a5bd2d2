/** The lease thread's look at its main thread: exact, with a registry and a clock that do as they are told. */
import { describe, expect, it } from '@jest/globals';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import type { ServiceRegistry } from '../../lib/registry/registry.js';
import { LeaseHolder } from '../../lib/registry/thread/lease-holder.js';
import { leaseKey } from '../../lib/registry/thread/thread-messages.js';
import { ManualClock, newRecord, rememberingLogger } from './registry-fixture.js';

const CHECK_MS = 100;
const MAX_BLOCKED_MS = 1_000;

function setUp() {
  const clock = new ManualClock();
  const logger = rememberingLogger();
  const log: string[] = [];
  const main = { beats: 0, away: false };
  const announce = async (record: NodeRecord) => {
    if (main.away) throw new MeshError('UNAVAILABLE', 'it is away', { delivery: 'not-sent' });
    log.push(`announce ${record.port}`);
    return {
      update: async (metadata: NodeRecord['metadata']) => void log.push(`update ${JSON.stringify(metadata)}`),
      withdraw: async () => void log.push(`withdraw ${record.port}`),
    };
  };
  const registry = { announce, close: async () => void log.push('close') } as Partial<ServiceRegistry>;
  const holder = new LeaseHolder({
    registry: registry as ServiceRegistry,
    clock,
    logger,
    checkEveryMs: CHECK_MS,
    maxBlockedMs: MAX_BLOCKED_MS,
    beats: () => main.beats,
  });
  /** Time in which the main thread lives. */
  const live = async (ms: number): Promise<void> => {
    for (let past = 0; past < ms; past += CHECK_MS) {
      main.beats += 1;
      await clock.advance(CHECK_MS);
    }
  };
  return { clock, logger, log, main, holder, live };
}

describe('a lease thread', () => {
  it('holds the record of a main thread that lives, and of one that is blocked for less than the bound', async () => {
    const { clock, log, holder, live } = setUp();
    await holder.do({ kind: 'announce', record: newRecord({ port: 1 }) });
    await live(5_000);
    for (let round = 0; round < 10; round += 1) {
      await clock.advance(MAX_BLOCKED_MS - CHECK_MS);
      await live(CHECK_MS);
    }
    expect(log).toEqual(['announce 1']);
    await holder.do({ kind: 'close' });
    expect(clock.pending).toBe(0);
  });

  it('lets the record go when the main thread is blocked for longer, says so once, and takes it again when it goes on', async () => {
    const { clock, log, logger, holder, live } = setUp();
    await holder.do({ kind: 'announce', record: newRecord({ port: 1 }) });
    await live(CHECK_MS);
    await clock.advance(10 * MAX_BLOCKED_MS);
    expect(log).toEqual(['announce 1', 'withdraw 1']);
    expect(logger.warnings).toEqual([
      expect.stringContaining('blocked for more than 1000 ms (maxBlockedMs)'),
    ]);
    await live(CHECK_MS);
    expect(log).toEqual(['announce 1', 'withdraw 1', 'announce 1']);
    await holder.do({ kind: 'close' });
  });

  it('does not take for blocked what was stopped as a whole, and the thread with it', async () => {
    const { clock, log, main, holder } = setUp();
    // The clock jumps: no check ran meanwhile.
    const { now } = clock;
    await holder.do({ kind: 'announce', record: newRecord({ port: 1 }) });
    clock.now = () => now.call(clock) + 60_000;
    await clock.advance(CHECK_MS);
    main.beats += 1;
    await clock.advance(CHECK_MS);
    expect(log).toEqual(['announce 1']);
    await holder.do({ kind: 'close' });
  });

  it('takes a record that it could not take at each check, until it stands', async () => {
    const { log, main, holder, live } = setUp();
    main.away = true;
    await holder.do({ kind: 'resume', record: newRecord({ port: 1 }) });
    await live(3 * CHECK_MS);
    expect(log).toEqual([]);
    main.away = false;
    await live(CHECK_MS);
    expect(log).toEqual(['announce 1']);
    await holder.do({ kind: 'close' });
  });

  it('announces metadata that were changed while the record was let go, and nothing that was withdrawn', async () => {
    const { clock, log, holder, live } = setUp();
    const [stays, leaves] = [newRecord({ port: 1 }), newRecord({ port: 2 })];
    await holder.do({ kind: 'announce', record: stays });
    await holder.do({ kind: 'announce', record: leaves });
    await clock.advance(2 * MAX_BLOCKED_MS);
    await holder.do({ kind: 'update', key: leaseKey(stays), metadata: { zone: 'b' } });
    await holder.do({ kind: 'withdraw', key: leaseKey(leaves) });
    log.length = 0;
    await live(2 * CHECK_MS);
    expect(log).toEqual(['announce 1']);
    await holder.do({ kind: 'update', key: leaseKey(stays), metadata: { zone: 'c' } });
    expect(log).toEqual(['announce 1', 'update {"zone":"c"}']);
    await expect(holder.do({ kind: 'update', key: leaseKey(leaves), metadata: {} })).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
    await holder.do({ kind: 'close' });
  });
});
