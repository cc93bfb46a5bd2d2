/** The error of the transport, its closed list of codes and its wire form. */
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  HTTP_STATUS_OF_ERROR_CODE,
  isMeshErrorCode,
  MESH_ERROR_CODES,
} from '../../lib/protocol/error-code.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';

const SIXTEEN = [
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

describe('The codes', () => {
  it('are the sixteen names of the protocol, in the order of their gRPC numbers', () => {
    expect(MESH_ERROR_CODES).toEqual(SIXTEEN);
  });

  it('each have an HTTP status of failure', () => {
    for (const status of Object.values(HTTP_STATUS_OF_ERROR_CODE)) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(600);
    }
  });

  it.each([
    'OK',
    '',
    'unavailable',
    'toString',
    '__proto__',
    'constructor',
    14,
    null,
    undefined,
    ['UNKNOWN'],
  ])('do not contain %p', (value) => {
    expect(isMeshErrorCode(value)).toBe(false);
  });
});

/** A value as it is after it has crossed the wire. */
function crossed(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

async function anotherCopy(): Promise<typeof MeshError> {
  const copy = '../../lib/protocol/mesh-error.js?another-copy';
  return ((await import(copy)) as { MeshError: typeof MeshError }).MeshError;
}

describe('A MeshError', () => {
  it('begins its message with the code and keeps the rest apart', () => {
    const error = new MeshError('UNAVAILABLE', 'no node of orders');
    expect(error.message).toBe('[UNAVAILABLE] no node of orders');
    expect(error.rawMessage).toBe('no node of orders');
    expect(String(error)).toBe('MeshError: [UNAVAILABLE] no node of orders');
    expect(error).toBeInstanceOf(Error);
    expect(error.delivery).toBe('unknown');
    expect('cause' in error).toBe(false);
  });

  it('is recognised across two copies of the package', async () => {
    const Other = await anotherCopy();
    expect(Other).not.toBe(MeshError);
    const foreign = new Other('ABORTED', 'from elsewhere');
    expect(foreign).not.toBeInstanceOf(MeshError);
    expect(MeshError.is(foreign)).toBe(true);
    expect(Other.is(new MeshError('ABORTED', 'from here'))).toBe(true);
    expect(MeshError.from(foreign)).toBe(foreign);
  });

  it.each([undefined, null, 'text', 1, new Error('plain'), {}, { name: 'MeshError', code: 'ABORTED' }])(
    'is not %p',
    (value) => {
      expect(MeshError.is(value)).toBe(false);
    },
  );

  it('hides its brand, so that no plain copy of its fields passes for one', () => {
    const error = new MeshError('ABORTED', 'why');
    expect(Object.getOwnPropertySymbols(Object.assign({}, error))).toEqual([]);
  });
});

describe('MeshError.from', () => {
  it('gives a MeshError back as it is, whatever else is asked', () => {
    const error = new MeshError('ABORTED', 'why', { delivery: 'refused' });
    expect(MeshError.from(error, 'INTERNAL', { delivery: 'unknown' })).toBe(error);
  });

  it('wraps an Error: its message, the code and facts given, itself as the cause', () => {
    const cause = new TypeError('no such thing');
    const error = MeshError.from(cause, 'INTERNAL', { service: 'orders', delivery: 'not-sent' });
    expect(error).toMatchObject({
      code: 'INTERNAL',
      rawMessage: 'no such thing',
      service: 'orders',
      delivery: 'not-sent',
    });
    expect(error.cause).toBe(cause);
  });

  it('takes anything that can be thrown', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true }), (value) => {
        const error = MeshError.from(value);
        expect(error.code).toBe('UNKNOWN');
        expect(typeof error.rawMessage).toBe('string');
      }),
    );
    expect(MeshError.from(Object.create(null)).message).toBe('[UNKNOWN] a thrown object that has no text');
    expect(MeshError.from(Symbol('s')).rawMessage).toBe('Symbol(s)');
  });
});

describe('Copies of a MeshError', () => {
  const cause = new Error('deeper');
  const details = { limit: 4 };
  const origin = { service: 'orders', nodeId: 'n1', pattern: 'create' };

  it('at() fills in what was not known and overwrites nothing', () => {
    const error = new MeshError('ABORTED', 'why', {
      service: 'billing',
      delivery: 'refused',
      details,
      cause,
    });
    const placed = error.at(origin);
    expect(placed).toMatchObject({
      code: 'ABORTED',
      rawMessage: 'why',
      message: '[ABORTED] why',
      delivery: 'refused',
      details,
      ...origin,
      service: 'billing',
    });
    expect(placed.cause).toBe(cause);
    expect(error.nodeId).toBeUndefined();
    expect(placed.at({ nodeId: 'n2' }).nodeId).toBe('n1');
  });

  it('withDelivery() changes the delivery alone', () => {
    const error = new MeshError('ABORTED', 'why', { ...origin, details, cause });
    const copy = error.withDelivery('not-sent');
    expect(copy).toMatchObject({
      code: 'ABORTED',
      rawMessage: 'why',
      delivery: 'not-sent',
      details,
      ...origin,
    });
    expect(copy.cause).toBe(cause);
    expect(error.delivery).toBe('unknown');
    expect(copy.withDelivery('not-sent')).toBe(copy);
  });

  it('point to where the original was made, and are recognised as it is', () => {
    const error = new MeshError('ABORTED', 'why');
    for (const copy of [error.at(origin), error.withDelivery('refused')]) {
      expect(copy.stack).toBe(error.stack);
      expect(MeshError.is(copy)).toBe(true);
    }
  });
});

describe('The wire form', () => {
  const anyError = fc
    .record({
      code: fc.constantFrom(...MESH_ERROR_CODES),
      message: fc.string({ unit: 'binary' }),
      delivery: fc.constantFrom('not-sent' as const, 'refused' as const, 'unknown' as const),
      details: fc.option(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), {
        nil: undefined,
      }),
    })
    .map(({ code, message, ...init }) => new MeshError(code, message, init));

  it('goes round with code, message, delivery and details', () => {
    fc.assert(
      fc.property(anyError, (error) => {
        const read = MeshError.fromWire(crossed(error.toWire()));
        expect(read?.message).toBe(error.message);
        expect(crossed(read?.toWire())).toEqual(crossed(error.toWire()));
      }),
    );
  });

  it('leaves out what the caller knows better, and takes it from the caller', () => {
    const error = new MeshError('ABORTED', 'why', {
      service: 'a',
      nodeId: 'b',
      pattern: 'c',
      cause: new Error('secret'),
    });
    expect(Object.keys(error.toWire())).toEqual(['status', 'code', 'message', 'delivery']);
    const read = MeshError.fromWire(error.toWire(), { service: 'orders', nodeId: 'n1', pattern: 'create' });
    expect(read).toMatchObject({ service: 'orders', nodeId: 'n1', pattern: 'create' });
  });

  it('is what JSON.stringify writes, but never claims that the call which carries it has not run', () => {
    const inner = new MeshError('UNAVAILABLE', 'billing is away', {
      delivery: 'not-sent',
      details: { tried: 2 },
    });
    const packet = crossed({ id: '1', err: inner, isDisposed: true }) as { err: unknown };
    expect(packet.err).toEqual({ ...inner.toWire(), delivery: 'unknown' });
    expect(MeshError.fromWire(packet.err)).toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
  });

  it('is not read from what a handler threw, whatever it looks like', () => {
    const thrown = { status: 'error', code: 'NOT_FOUND', message: 'no such order' };
    expect(MeshError.fromWire(thrown)).toBeUndefined();
    fc.assert(fc.property(fc.jsonValue(), (value) => expect(MeshError.fromWire(value)).toBeUndefined()));
  });

  it('keeps a __proto__ in details as a key and pollutes nothing', () => {
    const wire: unknown = JSON.parse(
      '{"status":"error","code":"ABORTED","message":"","delivery":"refused","details":{"__proto__":{"polluted":1}}}',
    );
    const read = MeshError.fromWire(wire);
    expect(Object.keys(read?.details ?? {})).toEqual(['__proto__']);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});
