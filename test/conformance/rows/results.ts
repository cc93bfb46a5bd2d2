/** Results: what a handler returns, and what the caller gets of it. */
import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { setTimeout as delay } from 'node:timers/promises';
import { concat, concatMap, EMPTY, firstValueFrom, from, NEVER, of, timer, type Observable } from 'rxjs';
import { answer, answerOrHang, answers, failed, got, hung, MASKED, settled } from '../outcome.js';
import type { Section } from '../row.js';

const VALUES = [7, -0.5, 0, '', 'ü\u2028\u0000', false, true, [1, [2, []]], {}, { a: { b: null } }];

const NOT_ITERATED =
  'Nest sends an iterator as the JSON of the object, `{}`, so that async generators cannot be used at all.';
const ANSWERED = 'Nest logs the failure and tells the caller nothing; a caller must never wait for ever.';

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
}

class Secretive extends Point {
  toJSON(): unknown {
    return [this.x, this.y];
  }
}

function cyclic(): unknown {
  const value: Record<string, unknown> = {};
  value['self'] = value;
  return value;
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
  @MessagePattern('of')
  of(data: unknown): Observable<unknown> {
    return of(data);
  }
  @MessagePattern('nil')
  null(): null {
    return null;
  }
  @MessagePattern('nothing')
  nothing(): void {}
  @MessagePattern('nothing-later')
  async nothingLater(): Promise<void> {}
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
  @MessagePattern('holes')
  holes(): Observable<unknown> {
    return of(1, undefined, 3);
  }
  @MessagePattern('hole-at-the-end')
  holeAtTheEnd(): Observable<unknown> {
    return of(1, undefined);
  }
  @MessagePattern('first-then-never')
  firstThenNever(): Observable<unknown> {
    return concat(of('first'), NEVER);
  }
  @MessagePattern('as-json')
  asJson(): Observable<unknown> {
    return from([
      new Point(1, 2),
      new Secretive(1, 2),
      new Date(0),
      Buffer.from([1, 255]),
      new Map([[1, 2]]),
      new Set([1]),
      Number.NaN,
      { left: undefined, kept: 1 },
      [undefined, () => 1],
    ]);
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
  @MessagePattern('generator')
  *generator(data: unknown[]): Iterable<unknown> {
    yield* data;
  }
  @MessagePattern('iterables-inside')
  iterablesInside(): Observable<unknown> {
    return of(0, this.asyncGenerator([1, 2]), 3);
  }
  @MessagePattern('bigint')
  bigint(): unknown {
    return { big: 1n };
  }
  @MessagePattern('cyclic')
  cyclic(): unknown {
    return cyclic();
  }
  @MessagePattern('bigint-midway')
  bigintMidway(): Observable<unknown> {
    return of(1, 2n, 3);
  }
  @MessagePattern('large-stream')
  largeStream({ items, bytes }: { items: number; bytes: number }): Observable<unknown> {
    return from(Array.from({ length: items }, (_, id) => ({ id, filler: 'x'.repeat(bytes) })));
  }
  @MessagePattern('fence')
  fence(): void {}
}

export const RESULTS: Section = {
  title: 'Results of handlers',
  rows: [
    {
      id: 'results.values',
      title:
        'A value, a Promise, a thenable and `of()` arrive as one value, then the end: also 0, "" and false.',
      both: VALUES.flatMap((value) => Array.from({ length: 4 }, () => got(value))),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        const outcomes = [];
        for (const value of VALUES)
          outcomes.push(...(await answers(client, ['value', 'promise', 'thenable', 'of'], value)));
        return outcomes;
      },
    },
    {
      id: 'results.null',
      title: '`null` is a value.',
      both: got(null),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answer(client, 'nil');
      },
    },
    {
      id: 'results.nothing',
      title: '`undefined`, a Promise of it and an empty Observable complete without a value.',
      both: [got(), got(), got()],
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answers(client, ['nothing', 'nothing-later', 'empty']);
      },
    },
    {
      id: 'results.nothing-first',
      title: '`firstValueFrom` of a call without a value rejects with `EmptyError`.',
      both: { error: { is: 'EmptyError', message: 'no elements in sequence' } },
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return settled(firstValueFrom(client.send('nothing', {})));
      },
    },
    {
      id: 'results.observable',
      title:
        'Every value of an Observable arrives in order, then the end: at once, over time, or from a Promise of it.',
      both: Array.from({ length: 3 }, () => got('a', 2, { three: 3 }, [4], false)),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answers(client, ['many', 'many-later', 'promise-of-many'], ['a', 2, { three: 3 }, [4], false]);
      },
    },
    {
      id: 'results.holes',
      title:
        '`undefined` among the values of an Observable keeps its place, and is left out where it is the last.',
      both: [got(1, undefined, 3), got(1)],
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answers(client, ['holes', 'hole-at-the-end']);
      },
    },
    {
      id: 'results.at-once',
      title: 'A value is sent when it is there, not when the next one or the end comes.',
      both: hung('first'),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answerOrHang(client, 'first-then-never');
      },
    },
    {
      id: 'results.json',
      title:
        'Everything travels as JSON makes it: dates, buffers, maps, class instances, `toJSON`, NaN, `undefined` inside.',
      both: got(
        { x: 1, y: 2 },
        [1, 2],
        '1970-01-01T00:00:00.000Z',
        { type: 'Buffer', data: [1, 255] },
        {},
        {},
        null,
        { kept: 1 },
        [null, null],
      ),
      packed: {
        says: 'a buffer stays one',
        sees: got(
          { x: 1, y: 2 },
          [1, 2],
          '1970-01-01T00:00:00.000Z',
          Buffer.from([1, 255]),
          {},
          {},
          null,
          { kept: 1 },
          [null, null],
        ),
      },
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answer(client, 'as-json');
      },
    },
    {
      id: 'results.envelope',
      title: 'Data that looks like a packet of the transport is data.',
      both: [
        got({ err: 'x', isDisposed: true, id: 1 }),
        got({ response: 1, isDisposed: true }),
        got({ pattern: 'value', data: 1, cancel: true }),
      ],
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return [
          await answer(client, 'value', { err: 'x', isDisposed: true, id: 1 }),
          await answer(client, 'value', { response: 1, isDisposed: true }),
          await answer(client, 'value', { pattern: 'value', data: 1, cancel: true }),
        ];
      },
    },
    {
      id: 'results.async-iterable',
      title: 'An async generator, and a Promise of one.',
      tcp: { says: 'one value, `{}`', sees: [got({}), got({})] },
      mesh: { says: 'every value in order, then the end', sees: [got(1, 2, 3), got(1, 2, 3)] },
      why: NOT_ITERATED,
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answers(client, ['async-generator', 'promise-of-async-generator'], [1, 2, 3]);
      },
    },
    {
      id: 'results.generator',
      title: 'A generator that is not async.',
      tcp: { says: 'one value, `{}`', sees: got({}) },
      mesh: { says: 'every value in order, then the end', sees: got(1, 2, 3) },
      why: NOT_ITERATED,
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answer(client, 'generator', [1, 2, 3]);
      },
    },
    {
      id: 'results.iterables-inside',
      title: 'Async generators among the values of an Observable.',
      tcp: { says: '`{}` in their place', sees: got(0, {}, 3) },
      mesh: { says: 'their values in their place', sees: got(0, 1, 2, 3) },
      why: 'With an interceptor Nest wraps whatever a handler gives into an Observable, and the generator is one of its values.',
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answer(client, 'iterables-inside');
      },
    },
    {
      id: 'results.not-json',
      title: 'A result that is no JSON (a BigInt, a cycle).',
      tcp: { says: 'no answer, ever', sees: [hung(), hung()] },
      mesh: { says: 'fails: "Internal server error", and logged', sees: [failed(MASKED), failed(MASKED)] },
      packed: { says: 'a BigInt of 64 bits arrives', sees: [got({ big: 1 }), failed(MASKED)] },
      why: ANSWERED,
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return [await answerOrHang(client, 'bigint'), await answerOrHang(client, 'cyclic')];
      },
    },
    {
      id: 'results.not-json-midway',
      title: 'A value in the middle of a stream that is no JSON.',
      tcp: { says: 'is left out, the rest arrives', sees: got(1, 3) },
      mesh: { says: 'ends the stream with "Internal server error"', sees: failed(MASKED, 1) },
      packed: { says: 'a BigInt of 64 bits arrives', sees: got(1, 2, 3) },
      why: 'A stream with a hole that nobody is told of is wrong data.',
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return answer(client, 'bigint-midway');
      },
    },
    {
      id: 'results.long-stream',
      title: 'A thousand values of 8 KB arrive once each, in order.',
      both: Array.from({ length: 1_000 }, (_, id) => id),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        const { values } = await answer(client, 'large-stream', { items: 1_000, bytes: 8_192 });
        return values.map((value) => (value as { id: number }).id);
      },
    },
    {
      id: 'results.large',
      title: 'Values of 1 MB arrive whole.',
      both: Array.from({ length: 8 }, () => 1_048_576),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        const { values } = await answer(client, 'large-stream', { items: 8, bytes: 1_048_576 });
        return values.map((value) => (value as { filler: string }).filler.length);
      },
    },
    {
      id: 'results.concurrent',
      title: 'Calls that are open at the same time get their own answers.',
      both: Array.from({ length: 50 }, (_, at) => got(at, 'x', at)),
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        return Promise.all(
          Array.from({ length: 50 }, (_, at) => answer(client, 'many-later', [at, 'x', at])),
        );
      },
    },
    {
      id: 'results.burst',
      title: '12,000 calls in one turn are all answered.',
      both: [12_000, got('after')],
      async observe(stage) {
        const { client } = await stage.serve(ResultController);
        const all = await Promise.all(
          Array.from({ length: 12_000 }, (_, at) => firstValueFrom(client.send<number>('value', at))),
        );
        return [all.filter((value, at) => value === at).length, await answer(client, 'value', 'after')];
      },
    },
  ],
};
