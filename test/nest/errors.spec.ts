/** What callers see when a handler fails: the shapes of Nest's own transports, and always an answer. */
import { describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  HttpException,
  UseFilters,
  UseInterceptors,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { MessagePattern, RpcException } from '@nestjs/microservices';
import { concat, from, Observable, of, throwError } from 'rxjs';
import { AsyncIterableInterceptor, MeshError } from '../../lib/index.js';
import { useBench } from './nest-fixture.js';
import { WirePeer } from './wire-peer.js';

const MASKED = { status: 'error', message: 'Internal server error' };
/** What stands beside a masked error in its packet. */
const MASKED_ID = { errorId: expect.any(String) };

class OwnRpcException extends RpcException {}

/** What can be thrown, by name. */
const THROWN: Record<string, () => unknown> = {
  'rpc-text': () => new RpcException('boom'),
  'rpc-subclass': () => new OwnRpcException('boom'),
  'rpc-object': () => new RpcException({ code: 'X', status: 418, nested: { a: [1] } }),
  'rpc-error': () => new RpcException(new Error('inner')),
  'rpc-mesh-error': () => new RpcException(new MeshError('ABORTED', 'changed meanwhile')),
  'rpc-number': () => new RpcException(42 as never),
  'rpc-bigint': () => new RpcException({ big: 1n }),
  error: () => new Error('secret'),
  text: () => 'secret',
  http: () => new HttpException('secret', 404),
  undefined: () => undefined,
  null: () => null,
  zero: () => 0,
  'empty-text': () => '',
};

/** Filters what it is told to, by the name of the handler's pattern. */
@Catch()
class OddFilter implements ExceptionFilter {
  catch(exception: unknown, _host: ArgumentsHost): unknown {
    switch ((exception as Error).message) {
      case 'rethrow':
        throw new TypeError('secret of the filter');
      case 'plain value':
        return { filtered: true };
      case 'custom':
        return throwError(() => ({ custom: true }));
      case 'real error':
        return throwError(() => new Error('an error object'));
      case 'function':
        return throwError(() => () => undefined);
      case 'symbol':
        return throwError(() => Symbol('s'));
      default:
        return throwError(() => (exception as { falsy?: unknown }).falsy);
    }
  }
}

function deep(): unknown {
  let value: unknown = 1;
  for (let depth = 0; depth < 100_000; depth += 1) value = { value };
  return value;
}

function cyclic(): unknown {
  const value: Record<string, unknown> = {};
  value['self'] = value;
  return value;
}

const UNSERIALIZABLE: Record<string, () => unknown> = { bigint: () => ({ big: 1n }), cyclic, deep };

@Controller()
class FailingController {
  @MessagePattern('sync')
  sync(what: string): unknown {
    throw THROWN[what]?.();
  }
  @MessagePattern('async')
  async async(what: string): Promise<unknown> {
    throw THROWN[what]?.();
  }
  @MessagePattern('observable')
  observable(what: string): Observable<unknown> {
    return throwError(() => THROWN[what]?.());
  }
  @MessagePattern('midway')
  midway(what: string): Observable<unknown> {
    return concat(
      of(1, 2),
      throwError(() => THROWN[what]?.()),
    );
  }
  @MessagePattern('generator')
  async *generator(what: string): AsyncIterable<unknown> {
    yield 1;
    yield 2;
    throw THROWN[what]?.();
  }
  @UseInterceptors(AsyncIterableInterceptor)
  @UseFilters(new OddFilter())
  @MessagePattern('filtered-generator')
  async *filteredGenerator(message: string): AsyncIterable<unknown> {
    yield 1;
    throw new Error(message);
  }
  @UseFilters(new OddFilter())
  @MessagePattern('filtered')
  filtered(message: string): unknown {
    throw new Error(message);
  }
  @UseFilters(new OddFilter())
  @MessagePattern('filtered-observable')
  filteredObservable(message: string): Observable<unknown> {
    return concat(
      of(1),
      throwError(() => new Error(message)),
    );
  }
  @UseFilters(new OddFilter())
  @MessagePattern('falsy')
  falsy(falsy: unknown): unknown {
    throw Object.assign(new Error('falsy'), { falsy });
  }
  @MessagePattern('unserializable')
  unserializable(what: string): unknown {
    return UNSERIALIZABLE[what]?.();
  }
  @MessagePattern('unserializable-midway')
  unserializableMidway(what: string): Observable<unknown> {
    return of(1, UNSERIALIZABLE[what]?.(), 3);
  }
  @MessagePattern('unserializable-generator')
  async *unserializableGenerator(what: string): AsyncIterable<unknown> {
    yield* [1, UNSERIALIZABLE[what]?.(), 3];
  }
  @MessagePattern('large')
  large(bytes: number): string {
    return 'x'.repeat(bytes);
  }
  @MessagePattern('large-midway')
  largeMidway(bytes: number): Observable<unknown> {
    return from([1, 'x'.repeat(bytes), 3]);
  }
  @MessagePattern('fine')
  fine(): string {
    return 'fine';
  }
}

describe('the error of a handler', () => {
  const bench = useBench();
  const service = (limits = {}) => bench.start({ controllers: [FailingController] }, { options: { limits } });

  const KNOWN: [string, unknown][] = [
    ['rpc-text', { status: 'error', message: 'boom' }],
    ['rpc-subclass', { status: 'error', message: 'boom' }],
    ['rpc-object', { code: 'X', status: 418, nested: { a: [1] } }],
    ['rpc-error', { status: 'error', message: 'inner' }],
    ['rpc-number', { status: 'error', message: 42 }],
    ['rpc-bigint', MASKED],
    ['error', MASKED],
    ['text', MASKED],
    ['http', MASKED],
    ['undefined', MASKED],
    ['null', MASKED],
    ['zero', MASKED],
    ['empty-text', MASKED],
  ];

  it.each(KNOWN)('%s arrives as on the other transports, however it was thrown', async (what, err) => {
    const { server } = await service();
    const peer = bench.keep(await WirePeer.open(server));
    const last = { err, isDisposed: true, status: 'error', ...(err === MASKED ? MASKED_ID : {}) };
    await expect(peer.answerTo(1, 'sync', what)).resolves.toEqual([last]);
    await expect(peer.answerTo(2, 'async', what)).resolves.toEqual([last]);
    await expect(peer.answerTo(3, 'observable', what)).resolves.toEqual([last]);
    await expect(peer.answerTo(4, 'midway', what)).resolves.toEqual([{ response: 1 }, { response: 2 }, last]);
    await expect(peer.answerTo(5, 'generator', what)).resolves.toEqual([
      { response: 1 },
      { response: 2 },
      last,
    ]);
  });

  it('is the plain payload for the caller, as on the other transports', async () => {
    const { client } = await service();
    await expect(client.call('sync', 'rpc-text')).rejects.toEqual({ status: 'error', message: 'boom' });
    await expect(client.call('no such pattern', {})).rejects.toBe(
      'There is no matching message handler defined in the remote service.',
    );
  });

  it('stays a MeshError when an RpcException carries one, and no longer claims that nothing was sent', async () => {
    const { client } = await service();
    for (const pattern of ['sync', 'generator']) {
      const error = await client.call(pattern, 'rpc-mesh-error').catch((reason: unknown) => reason);
      expect(MeshError.is(error)).toBe(true);
      expect(error).toMatchObject({ code: 'ABORTED', delivery: 'unknown', rawMessage: 'changed meanwhile' });
    }
  });

  it('is logged when the caller is not told it', async () => {
    const { client, logs } = await service();
    for (const pattern of ['sync', 'observable', 'generator']) {
      logs.lines.length = 0;
      await expect(client.call(pattern, 'error')).rejects.toEqual(MASKED);
      expect(logs.find('error', 'secret')).toHaveLength(1);
    }
  });

  it('that a filter throws is masked, logged and answered', async () => {
    const { client, logs } = await service();
    await expect(client.call('filtered', 'rethrow')).rejects.toEqual(MASKED);
    await expect(client.call('filtered-observable', 'rethrow')).rejects.toEqual(MASKED);
    await expect(client.call('filtered-generator', 'rethrow')).rejects.toEqual(MASKED);
    expect(logs.find('error', 'secret of the filter')).toHaveLength(3);
    // rxjs wants an Observable from a filter here, and gets none.
    await expect(client.call('filtered-observable', 'plain value')).rejects.toEqual(MASKED);
    expect(logs.find('error', 'where a stream was expected')).toHaveLength(1);
  });

  it('is what a filter makes of it', async () => {
    const { server } = await service();
    const peer = bench.keep(await WirePeer.open(server));
    const custom = { err: { custom: true }, isDisposed: true, status: 'error' };
    await expect(peer.answerTo(1, 'filtered', 'custom')).resolves.toEqual([custom]);
    await expect(peer.answerTo(2, 'filtered-observable', 'custom')).resolves.toEqual([
      { response: 1 },
      custom,
    ]);
    await expect(peer.answerTo(3, 'filtered', 'plain value')).resolves.toEqual([
      { response: { filtered: true }, isDisposed: true },
    ]);
    await expect(peer.answerTo(4, 'filtered', 'real error')).resolves.toEqual([
      { err: { status: 'error', message: 'an error object' }, isDisposed: true, status: 'error' },
    ]);
  });

  it('of an async generator passes the filters behind AsyncIterableInterceptor', async () => {
    const { server } = await service();
    const peer = bench.keep(await WirePeer.open(server));
    await expect(peer.answerTo(1, 'filtered-generator', 'custom')).resolves.toEqual([
      { response: 1 },
      { err: { custom: true }, isDisposed: true, status: 'error' },
    ]);
  });

  it('is an error also when it is nothing, or what JSON leaves out', async () => {
    const { client } = await service();
    for (const falsy of [0, '', false]) {
      await expect(client.call('falsy', falsy)).rejects.toEqual(MASKED);
    }
    await expect(client.call('filtered', 'function')).rejects.toEqual(MASKED);
    await expect(client.call('filtered', 'symbol')).rejects.toEqual(MASKED);
    await expect(client.call('filtered', 'nothing')).rejects.toEqual(MASKED);
  });

  it.each(Object.keys(UNSERIALIZABLE))(
    'is masked and logged for a result that is no JSON: %s',
    async (what) => {
      const { server, logs } = await service();
      const peer = bench.keep(await WirePeer.open(server));
      const last = { err: MASKED, isDisposed: true, status: 'error', ...MASKED_ID };
      await expect(peer.answerTo(1, 'unserializable', what)).resolves.toEqual([last]);
      await expect(peer.answerTo(2, 'unserializable-midway', what)).resolves.toEqual([{ response: 1 }, last]);
      await expect(peer.answerTo(3, 'unserializable-generator', what)).resolves.toEqual([
        { response: 1 },
        last,
      ]);
      expect(logs.find('error', 'cannot be serialized')).toHaveLength(3);
      await expect(peer.answerTo(4, 'fine')).resolves.toEqual([{ response: 'fine', isDisposed: true }]);
    },
  );

  it('names limits.maxFrameBytes for a result that is too large, and the channel lives on', async () => {
    const { client } = await service({ maxFrameBytes: 4_096 });
    for (const pattern of ['large', 'large-midway']) {
      const error = await client.call(pattern, 5_000).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'unknown' });
      expect((error as MeshError).message).toContain('limits.maxFrameBytes (4096)');
    }
    await expect(client.call('large', 4_000)).resolves.toHaveLength(4_000);
  });

  it('names limits.maxFrameBytes for a request that is too large, on whichever side it is', async () => {
    const { client, registry } = await service({ maxFrameBytes: 4_096 });
    const tooLarge = {
      code: 'RESOURCE_EXHAUSTED',
      rawMessage: expect.stringContaining('limits.maxFrameBytes (4096)'),
    };
    await expect(client.call('fine', 'x'.repeat(5_000))).rejects.toMatchObject({
      ...tooLarge,
      delivery: 'refused',
    });
    const narrow = bench.client({ registry, to: 'service', limits: { maxFrameBytes: 4_096 } });
    await expect(narrow.call('fine', 'x'.repeat(5_000))).rejects.toMatchObject({
      ...tooLarge,
      delivery: 'not-sent',
    });
    await expect(client.call('fine', {})).resolves.toBe('fine');
    await expect(narrow.call('fine', {})).resolves.toBe('fine');
  });

  it('names what cannot be sent when the request is no JSON', async () => {
    const { client } = await service();
    for (const make of Object.values(UNSERIALIZABLE)) {
      await expect(client.call('fine', make())).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        delivery: 'not-sent',
      });
    }
    await expect(client.call('fine', {})).resolves.toBe('fine');
  });
});
