/** `{ input: 'observable' }`: what a caller streams, as an Observable. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { catchError, concat, from, map, of, take, throwError, toArray, type Observable } from 'rxjs';
import { until, useBench, valuesOf } from './nest-fixture.js';

let returned = 0;

@Controller()
class ObservingController {
  @MessagePattern('doubled', { input: 'observable' })
  doubled(numbers: Observable<number>): Observable<number> {
    return numbers.pipe(map((n) => n * 2));
  }

  @MessagePattern('all', { input: 'observable' })
  all(values: Observable<unknown>): Observable<unknown[]> {
    return values.pipe(toArray());
  }

  @MessagePattern('first', { input: 'observable' })
  first(values: Observable<unknown>): Observable<unknown> {
    return values.pipe(take(1));
  }

  @MessagePattern('caught', { input: 'observable' })
  caught(values: Observable<unknown>): Observable<unknown> {
    return values.pipe(catchError(() => of('the caller failed')));
  }
}

async function* endless(): AsyncGenerator<number> {
  try {
    for (let n = 1; ; n += 1) {
      yield n;
      // Without it a generator leaves no turn to the rest of the process.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    returned += 1;
  }
}

describe('A handler that asks for an Observable', () => {
  const bench = useBench();
  beforeEach(() => {
    returned = 0;
  });

  it('gets every value that the caller streams, in order, and the end', async () => {
    const { client } = await bench.start({ controllers: [ObservingController] });
    const numbers = Array.from({ length: 1_000 }, (_, n) => n);
    await expect(valuesOf(client.send('doubled', from(numbers)))).resolves.toEqual(numbers.map((n) => n * 2));
    await expect(client.call('all', from([]))).resolves.toEqual([]);
  });

  it('gets plain data as a stream of one value', async () => {
    const { client } = await bench.start({ controllers: [ObservingController] });
    await expect(client.call('all', [1, 2])).resolves.toEqual([[1, 2]]);
  });

  it('stops the caller by unsubscribing', async () => {
    const { client } = await bench.start({ controllers: [ObservingController] });
    await expect(client.call('first', endless())).resolves.toBe(1);
    await until(() => returned === 1, 'the generator of the caller is returned');
  });

  it('sees the failure of a caller whose own stream fails', async () => {
    const { client, logs } = await bench.start({ controllers: [ObservingController] });
    const failing = concat(
      of(1),
      throwError(() => new Error('no more')),
    );
    await expect(client.call('caught', failing)).rejects.toThrow('no more');
    expect(logs.find('error')).toEqual([]);
  });

  it('is not started when it asks for something else', async () => {
    @Controller()
    class WrongController {
      @MessagePattern('wrong', { input: 'array' })
      wrong(): void {}
    }
    await expect(bench.start({ controllers: [WrongController] })).rejects.toThrow(
      `input must be 'iterable' or 'observable', not "array"`,
    );
  });
});
