/** Dialling again and closing, whatever the store: exact, with a store and a clock that do as they are told. */
import { describe, expect, it } from '@jest/globals';
import { LeaseRegistry } from '../../lib/registry/lease-registry.js';
import type { RecordStore, StoreListener } from '../../lib/registry/record-store.js';
import { REGISTRY_DEFAULTS } from '../../lib/registry/registry.js';
import { ManualClock, newRecord, rememberingLogger, see, settle } from './registry-fixture.js';

function setUp(overrides: Partial<RecordStore> = {}) {
  const clock = new ManualClock();
  const logger = rememberingLogger();
  const log: string[] = [];
  let listener: StoreListener = {
    lost: () => undefined,
    hint: () => undefined,
    hintSubscribers: () => undefined,
  };
  const control = { up: true, listener: () => listener };
  const store: RecordStore = {
    url: 'test:store',
    open: async (given) => {
      log.push(`open at ${clock.now() - start}`);
      listener = given;
      if (!control.up) throw new Error('it is down');
    },
    write: async (record, kind) => void log.push(`${kind} ${record.port}`),
    remove: async (record) => void log.push(`remove ${record.port}`),
    lookOut: () => ({
      look: async () => ({ records: [], generation: '' }),
      close: () => log.push('closed look'),
    }),
    lookOutForSubscribers: () => ({
      look: async () => ['orders'],
      close: () => log.push('closed subscribers'),
    }),
    close: async () => void log.push('close'),
    ...overrides,
  };
  const start = clock.now();
  const registry = new LeaseRegistry(store, { timings: REGISTRY_DEFAULTS, logger, clock });
  return { clock, logger, log, registry, control };
}

describe('a registry whose store was lost', () => {
  it('dials again with full jitter, the ceiling doubling from 200 ms to one heartbeat interval', async () => {
    const { clock, log, registry, control } = setUp();
    await registry.connect();
    control.up = false;
    control.listener().lost('cut');
    // The chance is 0.5, so each pause is half its ceiling: 200, 400, 800, 1600, 2000, 2000.
    await clock.advance(100 + 200 + 400 + 800 + 1_000 + 1_000);
    expect(log).toEqual([0, 0 + 100, 300, 700, 1_500, 2_500, 3_500].map((at) => `open at ${at}`));
    await registry.close();
    expect(clock.pending).toBe(0);
  });

  it('writes every record again as soon as it is back, and says so once', async () => {
    const { clock, log, logger, registry, control } = setUp();
    await registry.announce(newRecord({ port: 1 }));
    await registry.announce(newRecord({ port: 2 }));
    control.listener().lost('cut');
    control.listener().lost('cut again');
    expect(registry.status).toMatchObject({ state: 'stale', reason: 'cut' });
    log.length = 0;
    await clock.advance(100);
    expect(log).toEqual(['open at 100', 'beat 1', 'beat 2']);
    expect(registry.status).toEqual({ state: 'connected' });
    expect([logger.warnings.length, logger.logs.length]).toEqual([1, 1]);
    await registry.close();
  });

  it('says for how long it is stale, ever more rarely, and how long it was when it is back', async () => {
    const { clock, logger, registry, control } = setUp();
    await registry.announce(newRecord());
    control.up = false;
    control.listener().lost('cut');
    await clock.advance(61_000);
    expect(registry.status).toMatchObject({ state: 'stale', since: clock.now() - 61_000 });
    expect(logger.warnings.map((text) => /is away|stale for \d+ s/.exec(text)?.[0])).toEqual([
      'is away',
      expect.stringMatching(/^stale for 1\d s$/),
      expect.stringMatching(/^stale for 3\d s$/),
    ]);
    control.up = true;
    await clock.advance(2_000);
    expect(logger.logs).toEqual([expect.stringMatching(/is back; it was stale for 6[1-3] s$/)]);
    await registry.close();
  });

  it('does not take a link for standing that was lost in the breath in which it was opened', async () => {
    const { clock, log, registry } = setUp({
      open: async (listener) => {
        log.push('open');
        if (log.length === 1) listener.lost('cut at once');
      },
    });
    see(registry);
    await settle();
    expect(registry.status).toMatchObject({ state: 'stale', reason: 'cut at once' });
    await clock.advance(200);
    expect(registry.status).toEqual({ state: 'connected' });
    await registry.close();
  });

  it('does not dial again after a failed connect that nobody waits for', async () => {
    const { clock, log, registry, control } = setUp();
    control.up = false;
    await expect(registry.connect()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await clock.advance(60_000);
    expect(log).toEqual(['open at 0']);
    expect(registry.status).toEqual({ state: 'idle' });
  });
});

describe('closing a registry', () => {
  it('withdraws everything before the store is closed, also what is just being announced', async () => {
    let written: () => void = () => undefined;
    const { log, registry } = setUp({
      write: (record) => {
        log.push(`write ${record.port}`);
        return record.port === 1 ? Promise.resolve() : new Promise((resolve) => (written = resolve));
      },
    });
    await registry.announce(newRecord({ port: 1 }));
    const late = registry.announce(newRecord({ port: 2 })).catch((error: unknown) => error);
    await settle();
    const closing = registry.close();
    written();
    await closing;
    expect(await late).toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(log).toEqual(['open at 0', 'write 1', 'write 2', 'remove 2', 'remove 1', 'close']);
  });

  it('takes a node out only after an update under way is written, which would put it back', async () => {
    const writes: (() => void)[] = [];
    const { log, registry } = setUp({
      write: (record, kind) =>
        new Promise((resolve) => writes.push(() => (log.push(`${kind} ${record.port}`), resolve()))),
    });
    const announcing = registry.announce(newRecord({ port: 1 }));
    await settle();
    writes[0]?.();
    const announcement = await announcing;
    const updated = announcement.update({ zone: 'b' });
    await settle();
    const withdrawn = announcement.withdraw();
    await settle();
    writes[1]?.();
    await Promise.all([updated, withdrawn]);
    expect(log).toEqual(['open at 0', 'join 1', 'join 1', 'remove 1']);
    await registry.close();
  });

  it('does not reject when the store fails, and says what remains', async () => {
    const { logger, registry } = setUp({ remove: () => Promise.reject(new Error('no')) });
    await registry.announce(newRecord());
    await registry.close();
    expect(logger.warnings).toEqual([expect.stringContaining('its record ends with its lease of 10000 ms')]);
  });
});
