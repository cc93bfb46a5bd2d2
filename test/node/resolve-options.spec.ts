/** Options: what is left out has its default, and every fault is told at once, with its value. */
import { describe, expect, it } from '@jest/globals';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import { checkTimeoutMs, resolveOptions } from '../../lib/node/resolve-options.js';
import { DEFAULT_WIRE_LIMITS } from '../../lib/protocol/limits.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { p2c } from '../../lib/routing/p2c.js';

/** The faults that are told of these options; what a user of JavaScript can write. */
function faultsOf(options: unknown): string[] {
  try {
    resolveOptions(options as MeshOptions);
  } catch (error) {
    if (MeshError.is(error)) {
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.delivery).toBe('not-sent');
      const faults = error.details?.['faults'] as string[];
      for (const fault of faults) expect(error.rawMessage).toContain(`- ${fault}`);
      return faults;
    }
    throw error;
  }
  return [];
}

describe('The options of a node', () => {
  it('have a default each, but for the name of the service', () => {
    const { nodeId, logger, ...rest } = resolveOptions({ service: 'orders' });
    expect(nodeId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(() => logger.warn('silent')).not.toThrow();
    expect(rest).toEqual({
      service: 'orders',
      registry: 'redis://localhost:6379',
      redis: undefined,
      listen: true,
      connectTo: [],
      host: '127.0.0.1',
      port: 0,
      advertiseHost: '127.0.0.1',
      advertisePort: undefined,
      metadata: {},
      tls: undefined,
      http: { rpc: true, health: true },
      timeoutMs: 30_000,
      connectTimeoutMs: 5_000,
      drainTimeoutMs: 10_000,
      largeMessageBytes: 262_144,
      keepAlive: { intervalMs: 10_000, timeoutMs: 5_000 },
      reconnect: { baseMs: 100, maxMs: 5_000 },
      heartbeatIntervalMs: 2_000,
      ttlMs: 10_000,
      registryTimeoutMs: 5_000,
      leaseThread: false,
      maxBlockedMs: 60_000,
      limits: DEFAULT_WIRE_LIMITS,
      duplicateHandlers: 'error',
      codec: 'json',
      subsetSize: 20,
      idleSessionMs: 60_000,
      picker: p2c,
      weight: 1,
      zone: undefined,
      slowStartMs: 10_000,
      ejection: {
        consecutiveFailures: 5,
        successRateDeviations: 1.9,
        baseMs: 5_000,
        maxMs: 60_000,
        maxShare: 0.5,
      },
      retry: { attempts: 3, baseMs: 20, maxMs: 1_000 },
      retryBudget: { share: 0.2, perSecond: 10 },
      sessionMaxAgeMs: 3_600_000,
      maxConcurrency: Infinity,
      maxQueue: Infinity,
    });
  });

  it.each([
    ['127.0.0.1', true],
    ['127.8.8.8', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.7', false],
    ['127.example.org', false],
  ])('take plain calls on %s: %s', (host, rpc) => {
    expect(resolveOptions({ service: 'orders', host }).http).toEqual({ rpc, health: true });
    expect(resolveOptions({ service: 'orders', host, http: { rpc: !rpc } }).http.rpc).toBe(!rpc);
  });

  it('refuse an http switch that is neither true nor false', () => {
    expect(() => resolveOptions({ service: 'orders', http: { rpc: 'yes' as never } })).toThrow(
      /http\.rpc must be true or false, not "yes"/,
    );
  });

  it('make every node another id', () => {
    expect(resolveOptions({ service: 'a' }).nodeId).not.toBe(resolveOptions({ service: 'a' }).nodeId);
  });

  it('are not changed, and those that are given win', () => {
    const options: MeshOptions = Object.freeze({
      service: 'orders',
      port: 4100,
      keepAlive: Object.freeze({ intervalMs: 0 }),
      limits: Object.freeze({ maxFrameBytes: 1 }),
      advertise: Object.freeze({ host: 'orders.internal', port: 80 }),
    });
    expect(resolveOptions(options)).toMatchObject({
      port: 4100,
      keepAlive: { intervalMs: 0, timeoutMs: 5_000 },
      limits: { maxFrameBytes: 1, maxChannels: DEFAULT_WIRE_LIMITS.maxChannels },
      advertiseHost: 'orders.internal',
      advertisePort: 80,
    });
  });

  it('tell peers an address that they can dial when every interface is listened on', () => {
    for (const host of ['0.0.0.0', '::']) {
      const { advertiseHost } = resolveOptions({ service: 'orders', host });
      expect(['0.0.0.0', '::']).not.toContain(advertiseHost);
    }
  });

  it('let as many calls wait as are handled at a time, unless it is said', () => {
    const limitOf = (limit: Partial<MeshOptions>): unknown => {
      const { maxConcurrency, maxQueue } = resolveOptions({ service: 'orders', ...limit });
      return { maxConcurrency, maxQueue };
    };
    expect(limitOf({})).toEqual({ maxConcurrency: Infinity, maxQueue: Infinity });
    expect(limitOf({ maxConcurrency: 8 })).toEqual({ maxConcurrency: 8, maxQueue: 8 });
    expect(limitOf({ maxConcurrency: 8, maxQueue: 0 })).toEqual({ maxConcurrency: 8, maxQueue: 0 });
    expect(faultsOf({ service: 'orders', maxConcurrency: 0 })).toEqual([
      'maxConcurrency must be a whole number of at least 1, not 0',
    ]);
    expect(faultsOf({ service: 'orders', maxConcurrency: 8, maxQueue: -1 })).toEqual([
      'maxQueue must be a whole number of at least 0, not -1',
    ]);
    expect(faultsOf({ service: 'orders', maxQueue: 8 })).toEqual([
      'maxQueue needs maxConcurrency: without a limit no call waits',
    ]);
  });

  it('without a port refuse what is about the port, naming it', () => {
    const options = { service: 'orders', listen: false };
    const why = 'cannot be set together with listen: false: such a node opens no port';
    expect(faultsOf({ ...options, port: 0 })).toEqual([`port ${why}`]);
    expect(faultsOf({ ...options, host: '127.0.0.1', port: 80, advertise: {} })).toEqual([
      `host, port, advertise ${why}`,
    ]);
    expect(faultsOf({ ...options, host: undefined, connectTo: ['a', 'b', 'a'] })).toEqual([]);
    expect(resolveOptions({ ...options, connectTo: ['a', 'b', 'a'] }).connectTo).toEqual(['a', 'b']);
  });

  it('with many faults have all of them in one error', () => {
    const faults = faultsOf({
      service: 'or:ders',
      nodeId: '1',
      host: 'local host',
      port: 70_000,
      registry: 'mysql://x',
      timeoutMs: -1,
      connectTimeoutMs: 0,
      keepAlive: { intervalMs: NaN },
      reconnect: { baseMs: '100' },
      limits: { maxFrameBytes: 0, maxFrames: 5 },
      picker: 'random',
      weight: 0,
      zone: '',
      slowStartMs: -1,
      ejection: { maxShare: 2 },
      retry: { attempts: 0 },
      retryBudget: { share: -1, perMinute: 5 },
      metadata: [],
      advertise: { host: 'a:80', port: 0 },
      colour: 'red',
    });
    for (const name of [
      'service',
      'nodeId',
      'host',
      'port',
      'registry',
      'timeoutMs',
      'connectTimeoutMs',
      'keepAlive.intervalMs',
      'reconnect.baseMs',
      'limits.maxFrameBytes',
      'limits.maxFrames is not an option',
      'picker',
      'weight',
      'zone',
      'slowStartMs',
      'ejection.maxShare',
      'retry.attempts',
      'retryBudget.share',
      'retryBudget.perMinute is not an option',
      'metadata',
      'advertise.host',
      'advertise.port',
      'colour is not an option',
    ]) {
      expect(faults.filter((fault) => fault.startsWith(name))).not.toEqual([]);
    }
    expect(faults).toHaveLength(23);
  });

  it.each<[string, unknown, string]>([
    ['port', 70_000, 'port must be a whole number from 0 to 65535, not 70000'],
    ['port', 80.5, 'port must be a whole number from 0 to 65535, not 80.5'],
    ['port', '80', 'port must be a whole number from 0 to 65535, not "80"'],
    ['nodeId', 'x', 'nodeId must be a UUID v4, not "x"'],
    ['timeoutMs', Infinity, 'timeoutMs must be a number of milliseconds from 0 to 2147483647, not Infinity'],
    [
      'ttlMs',
      2_500,
      'ttlMs (2500) must be at least 3 times heartbeatIntervalMs (2000), or nodes come and go',
    ],
    ['metadata', { big: 1n }, 'metadata must be a JSON object, not [object Object]'],
    ['listen', 'no', 'listen must be true or false, not "no"'],
    ['connectTo', 'gateway', 'connectTo must be an array of names of services, not "gateway"'],
    ['connectTo', [5], 'connectTo: a service name must be a string, not number'],
    ['picker', 'x', 'picker must be a function, not "x"'],
    [
      'limits',
      { maxFrameBytes: 2 ** 33 },
      'limits.maxFrameBytes must be a whole number from 1 to 4294967295, not 8589934592',
    ],
    [
      'limits',
      { incompleteFrameTimeoutMs: 2 ** 31 },
      'limits.incompleteFrameTimeoutMs must be a whole number from 0 to 2147483647, not 2147483648',
    ],
    ['keepAlive', { interval: 5 }, 'keepAlive.interval is not an option'],
    ['reconnect', { min: 5 }, 'reconnect.min is not an option'],
    ['advertise', { address: 'x' }, 'advertise.address is not an option'],
    ['tls', { certificate: 'x' }, 'tls.certificate is not an option'],
    ['keepAlive', null, 'keepAlive must be an object, not null'],
    ['reconnect', 5, 'reconnect must be an object, not 5'],
    ['limits', 'x', 'limits must be an object, not "x"'],
    ['advertise', [], 'advertise must be an object, not []'],
    ['tls', true, 'tls must be an object, not true'],
    ['logger', {}, 'logger must have the methods log, warn, error and debug, not {}'],
    [
      'registry',
      null,
      'registry must be a URL that begins with redis://, rediss://, file: or memory:, not null',
    ],
    ['host', '10.0.0.1:80', 'host must be an IP address or a host name without a port, not "10.0.0.1:80"'],
  ])('name %s and its value %j', (name, value, fault) => {
    expect(faultsOf({ service: 'orders', [name]: value })).toEqual([fault]);
  });

  it.each([undefined, null, 5, 'orders', []])('that are %j are no options', (options) => {
    expect(faultsOf(options)).toEqual([expect.stringMatching(/^the options must be an object, not /)]);
  });

  it('name the service when it is missing', () => {
    expect(faultsOf({})).toEqual([expect.stringMatching(/^service: /)]);
  });

  it('may be `undefined` one by one, which means their default', () => {
    const nothing = {
      port: undefined,
      keepAlive: undefined,
      limits: { maxFrameBytes: undefined },
      logger: undefined,
    };
    expect(faultsOf({ service: 'orders', ...nothing })).toEqual([]);
  });
});

describe('The timeout of a call', () => {
  it('is checked like that of the node', () => {
    expect(checkTimeoutMs(0)).toBe(0);
    expect(() => checkTimeoutMs(-5)).toThrow(
      'timeoutMs must be a number of milliseconds from 0 to 2147483647, not -5',
    );
  });
});
