/** What a handler gives back, as packets on the wire and as values of the caller. */
import { describe, expect, it } from '@jest/globals';
import { Controller, UseInterceptors } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { setTimeout as delay } from 'node:timers/promises';
import { Readable } from 'node:stream';
import {
  concat,
  concatMap,
  defer,
  EMPTY,
  firstValueFrom,
  from,
  NEVER,
  of,
  Subject,
  timer,
  type Observable,
} from 'rxjs';
import { AsyncIterableInterceptor } from '../../lib/index.js';
import { gate, useBench, valuesOf } from './nest-fixture.js';
import { WirePeer } from './wire-peer.js';

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
  toJSON(): unknown {
    return [this.x, this.y];
  }
}

@Controller()
class ResultController {
  @MessagePattern('value')
  value(data: unknown): unknown {
    return data;
  }
  @MessagePattern('promise')
  promise(data: unknown): Promise<unknown> {
    return delay(1, data);
  }
  @MessagePattern('thenable')
  thenable(data: unknown): unknown {
    // eslint-disable-next-line unicorn/no-thenable -- the thing under test
    return { then: (resolve: (value: unknown) => void) => resolve(data) };
  }
  @MessagePattern('to-json')
  toJson(): unknown {
    return new Point(1, 2);
  }
  @MessagePattern('nothing')
  nothing(): void {}
  @MessagePattern('empty')
  empty(): Observable<never> {
    return EMPTY;
  }
  @MessagePattern('many')
  many(data: unknown[]): Observable<unknown> {
    return from(data);
  }
  @MessagePattern('many-later')
  manyLater(data: unknown[]): Observable<unknown> {
    return from(data).pipe(concatMap((item, at) => timer(at).pipe(concatMap(() => of(item)))));
  }
  @MessagePattern('promise-of-many')
  async promiseOfMany(data: unknown[]): Promise<Observable<unknown>> {
    return from(data);
  }
  @MessagePattern('generator')
  *generator(data: unknown[]): Iterable<unknown> {
    yield* data;
  }
  @MessagePattern('async-generator')
  async *asyncGenerator(data: unknown[]): AsyncIterable<unknown> {
    for (const item of data) {
      yield item;
      await delay(1);
    }
  }
  @MessagePattern('promise-of-async-generator')
  async promiseOfAsyncGenerator(data: unknown[]): Promise<AsyncIterable<unknown>> {
    return this.asyncGenerator(data);
  }
  @UseInterceptors(AsyncIterableInterceptor)
  @MessagePattern('intercepted-async-generator')
  async *intercepted(data: unknown[]): AsyncIterable<unknown> {
    yield* data;
  }
  @UseInterceptors(AsyncIterableInterceptor)
  @MessagePattern('intercepted-value')
  interceptedValue(data: unknown): unknown {
    return data;
  }
  @MessagePattern('readable')
  readable(data: unknown[]): Readable {
    return Readable.from(data);
  }
  @MessagePattern('iterables-inside')
  iterablesInside(): Observable<unknown> {
    return of(0, this.asyncGenerator([1, 2]), 3, this.generator([4, 5]), 6);
  }
  @MessagePattern('set')
  set(data: unknown[]): unknown {
    return new Set(data);
  }
  @MessagePattern('first-then-never')
  firstThenNever(): Observable<unknown> {
    return concat(of('first'), NEVER);
  }
}

describe('the result of a handler', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [ResultController] });
  const wire = async () => bench.keep(await WirePeer.open((await service()).server));

  it('is one packet when it is a value, now or later, whatever value it is', async () => {
    const peer = await wire();
    let id = 0;
    for (const pattern of ['value', 'promise', 'thenable', 'intercepted-value']) {
      for (const value of [7, 0, '', false, null, 'ü\u2028', [1, [2]], {}, { a: { b: null } }]) {
        id += 1;
        const answer = await peer.answerTo(id, pattern, value);
        expect([pattern, answer]).toEqual([pattern, [{ response: value, isDisposed: true }]]);
      }
    }
  });

  it('goes out as JSON makes it', async () => {
    const { client } = await service();
    await expect(client.call('to-json', {})).resolves.toEqual([1, 2]);
    await expect(client.call('set', [1])).resolves.toEqual({});
  });

  it.each(['nothing', 'empty'])('is the end without a value: %s', async (pattern) => {
    const peer = await wire();
    await expect(peer.answerTo(1, pattern)).resolves.toEqual([{ isDisposed: true }]);
  });

  it('is missing for the caller when the handler gave none', async () => {
    const { client } = await service();
    await expect(valuesOf(client.send('nothing', {}))).resolves.toEqual([]);
    await expect(firstValueFrom(client.send('empty', {}))).rejects.toThrow('no elements in sequence');
    await expect(client.call('nothing', {})).resolves.toBeUndefined();
  });

  it.each([
    'many',
    'many-later',
    'promise-of-many',
    'generator',
    'async-generator',
    'promise-of-async-generator',
    'intercepted-async-generator',
    'readable',
  ])('is every value in order, then exactly one end: %s', async (pattern) => {
    const peer = await wire();
    const values = ['a', 2, { three: 3 }, [4], false];
    const packets = await peer.answerTo(1, pattern, values);
    expect(packets.flatMap((packet) => ('response' in packet ? [packet['response']] : []))).toEqual(values);
    expect(packets.filter((packet) => packet['isDisposed'] === true)).toHaveLength(1);
    expect(packets.at(-1)).toMatchObject({ isDisposed: true });
    await expect(peer.answerTo(2, pattern, [])).resolves.toEqual([{ isDisposed: true }]);
  });

  it('merges the last value and the end into one packet when they come together', async () => {
    const peer = await wire();
    await expect(peer.answerTo(1, 'many', [1, 2])).resolves.toEqual([
      { response: 1 },
      { response: 2, isDisposed: true },
    ]);
  });

  it('keeps the place of values that are undefined in the middle of a stream', async () => {
    const { client } = await service();
    @Controller()
    class Holes {
      @MessagePattern('holes')
      holes(): Observable<unknown> {
        return of(1, undefined, 3);
      }
      @MessagePattern('async-holes')
      async *asyncHoles(): AsyncIterable<unknown> {
        yield* [1, undefined, 3];
      }
    }
    const { client: other } = await bench.start({ controllers: [Holes] });
    await expect(valuesOf(other.send('holes', {}))).resolves.toEqual([1, undefined, 3]);
    await expect(valuesOf(other.send('async-holes', {}))).resolves.toEqual([1, undefined, 3]);
    await expect(valuesOf(client.send('many', [null]))).resolves.toEqual([null]);
  });

  it('unrolls iterables among the values of an Observable in their place', async () => {
    const { client } = await service();
    await expect(valuesOf(client.send('iterables-inside', {}))).resolves.toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('sends each value as soon as it is there, not when the next one comes', async () => {
    const { client } = await service();
    await expect(firstValueFrom(client.send('first-then-never', {}))).resolves.toBe('first');
  });

  it('keeps the values of 2,000 packets in order', async () => {
    const { client } = await service();
    const values = Array.from({ length: 2_000 }, (_, at) => at);
    for (const pattern of ['many', 'generator']) {
      await expect(valuesOf(client.send(pattern, values))).resolves.toEqual(values);
    }
  });

  it('never mixes the answers of calls that are open at the same time', async () => {
    const { client } = await service();
    const calls = Array.from({ length: 200 }, (_, at) => valuesOf(client.send('many-later', [at, -at, at])));
    await expect(Promise.all(calls)).resolves.toEqual(
      Array.from({ length: 200 }, (_, at) => [at, -at, at]).map((list) => list.map((n) => n + 0)),
    );
  });

  it('sends nothing after the end, also when the Observable is a Subject that goes on', async () => {
    const subject = new Subject<number>();
    const subscribed = gate();
    @Controller()
    class Hot {
      @MessagePattern('hot')
      hot(): Observable<number> {
        return defer(() => {
          subscribed.open();
          return subject;
        });
      }
    }
    const { server } = await bench.start({ controllers: [Hot] });
    const peer = bench.keep(await WirePeer.open(server));
    const answer = peer.answerTo(1, 'hot');
    await subscribed.promise;
    subject.next(1);
    subject.complete();
    subject.next(2);
    await expect(answer).resolves.toEqual([{ response: 1, isDisposed: true }]);
  });
});
