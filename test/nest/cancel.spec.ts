/** Cancelling: whatever makes the caller stop listening stops the handler as well. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, UseInterceptors } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { concat, finalize, firstValueFrom, interval, NEVER, Observable, of, take, timeout } from 'rxjs';
import { AsyncIterableInterceptor, MeshContext, MeshError } from '../../lib/index.js';
import { gate, until, useBench, type Gate } from './nest-fixture.js';

/** What the handlers of one test saw. */
class Witness {
  started: Gate<void> = gate();
  readonly aborted: unknown[] = [];
  torndown = 0;
  subscribed = 0;
  returned = 0;
  ticks = 0;
}
let seen = new Witness();

@Controller()
class SlowController {
  @MessagePattern('promise')
  async promise(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Promise<string> {
    this.watch(ctx);
    await once(ctx.signal, 'abort');
    return 'too late';
  }
  @MessagePattern('observable')
  observable(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Observable<number> {
    this.watch(ctx);
    return interval(1).pipe(finalize(() => (seen.torndown += 1)));
  }
  @MessagePattern('generator')
  async *generator(@Payload() _data: unknown, @Ctx() ctx: MeshContext): AsyncIterable<number> {
    this.watch(ctx);
    try {
      for (let at = 0; ; at += 1) {
        yield at;
        await delay(1);
      }
    } finally {
      seen.torndown += 1;
    }
  }
  @UseInterceptors(AsyncIterableInterceptor)
  @MessagePattern('intercepted-generator')
  intercepted(@Payload() data: unknown, @Ctx() ctx: MeshContext): AsyncIterable<number> {
    return this.generator(data, ctx);
  }
  @MessagePattern('sync-generator')
  *syncGenerator(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Iterable<number> {
    this.watch(ctx);
    try {
      for (;;) yield (seen.ticks += 1);
    } finally {
      seen.torndown += 1;
    }
  }
  @MessagePattern('first-then-never')
  firstThenNever(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Observable<string> {
    this.watch(ctx);
    return concat(of('first'), NEVER).pipe(finalize(() => (seen.torndown += 1)));
  }
  @MessagePattern('late-observable')
  async lateObservable(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Promise<Observable<number>> {
    this.watch(ctx);
    await once(ctx.signal, 'abort');
    return new Observable<number>(() => {
      seen.subscribed += 1;
    });
  }
  @MessagePattern('late-iterable')
  async lateIterable(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Promise<AsyncIterable<number>> {
    this.watch(ctx);
    await once(ctx.signal, 'abort');
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false as const, value: (seen.ticks += 1) }),
        return: () => {
          seen.returned += 1;
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
  }
  @MessagePattern('quick')
  quick(@Payload() _data: unknown, @Ctx() ctx: MeshContext): string {
    this.watch(ctx);
    return 'quick';
  }
  @MessagePattern('already')
  async already(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Promise<void> {
    seen.started.open();
    // The signal is asked for only after the call was cancelled.
    await delay(100);
    seen.aborted.push(ctx.signal.reason);
  }

  private watch(ctx: MeshContext): void {
    ctx.signal.addEventListener('abort', () => seen.aborted.push(ctx.signal.reason), { once: true });
    seen.started.open();
  }
}

describe('a caller that stops listening', () => {
  const bench = useBench();
  const service = () => bench.start({ controllers: [SlowController] });
  beforeEach(() => {
    seen = new Witness();
  });
  afterEach(() => expect(seen.aborted.length).toBeLessThanOrEqual(1));

  const cancelled = async (): Promise<void> => {
    await until(() => seen.aborted.length === 1, 'the signal aborts');
    expect(seen.aborted[0]).toMatchObject({ name: 'MeshError', code: 'CANCELLED' });
  };

  it('by unsubscribing aborts the signal of the handler', async () => {
    const { client } = await service();
    const subscription = client.send('promise', {}).subscribe();
    await seen.started.promise;
    subscription.unsubscribe();
    await cancelled();
  });

  it('by unsubscribing before the call could be sent never starts the handler', async () => {
    const { client } = await service();
    client.send('promise', {}).subscribe().unsubscribe();
    await client.call('quick', {});
    await delay(50); // A call that was sent after all would have arrived by now.
    expect(seen.aborted).toEqual([]);
  });

  it.each(['observable', 'generator', 'intercepted-generator', 'sync-generator', 'first-then-never'])(
    'by take(1) ends the producer: %s',
    async (pattern) => {
      const { client } = await service();
      await expect(firstValueFrom(client.send(pattern, {}).pipe(take(1)))).resolves.toBeDefined();
      await cancelled();
      await until(() => seen.torndown === 1, 'the producer is torn down');
      await expect(client.call('quick', {})).resolves.toBe('quick');
    },
  );

  it('is heard soon by a generator that never waits', async () => {
    const { client } = await service();
    await firstValueFrom(client.send('sync-generator', {}));
    await cancelled();
    // Without a pause it runs on until flow control stops it, at some 200,000 values.
    expect(seen.ticks).toBeLessThan(20_000);
  });

  it('by the timeout operator aborts the signal', async () => {
    const { client } = await service();
    await expect(firstValueFrom(client.send('promise', {}).pipe(timeout(100)))).rejects.toThrow('Timeout');
    await cancelled();
  });

  it('by the time limit of the mesh aborts the signal', async () => {
    const { client } = await service();
    const error: unknown = await client
      .with({ timeoutMs: 100 })
      .call('promise', {})
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'unknown', pattern: 'promise' });
    await cancelled();
  });

  it('by an AbortSignal gets an error that says so, and aborts the signal of the handler', async () => {
    const { client } = await service();
    const controller = new AbortController();
    const call = client.with({ signal: controller.signal }).call('promise', {});
    await seen.started.promise;
    const reason = new Error('no longer needed');
    controller.abort(reason);
    const error: unknown = await call.catch((failure: unknown) => failure);
    expect(MeshError.is(error)).toBe(true);
    expect(error).toMatchObject({ code: 'CANCELLED', cause: reason, service: 'service', pattern: 'promise' });
    await cancelled();
  });

  it('by an AbortSignal that was aborted before sends nothing', async () => {
    const { client } = await service();
    await client.call('quick', {});
    const call = client.with({ signal: AbortSignal.abort() }).call('promise', {});
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED', delivery: 'not-sent' });
    seen = new Witness();
    await client.call('quick', {});
    expect(seen.aborted).toEqual([]);
  });

  it('leaves no listener on an AbortSignal that many calls share', async () => {
    const { client } = await service();
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = { added: 0, removed: 0 };
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners.added += 1;
      Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners.removed += 1;
      Reflect.apply(removeEventListener, signal, args);
    };
    for (let at = 0; at < 20; at += 1) await client.with({ signal }).call('quick', {});
    expect(listeners).toEqual({ added: 20, removed: 20 });
  });

  it.each(['observable', 'generator'])(
    'by "break" out of client.stream() ends the producer: %s',
    async (pattern) => {
      const { client } = await service();
      const got: number[] = [];
      for await (const value of client.stream<number>(pattern, {})) {
        got.push(value);
        if (got.length === 3) break;
      }
      expect(got).toEqual([0, 1, 2]);
      await cancelled();
      await until(() => seen.torndown === 1, 'the producer is torn down');
    },
  );

  it('by closing its client aborts the signal', async () => {
    const { registry } = await service();
    const client = bench.client({ registry, to: 'service' });
    const call = client.call('promise', {}).catch((reason: unknown) => reason);
    await seen.started.promise;
    await client.close();
    await expect(call).resolves.toMatchObject({ code: 'UNAVAILABLE', delivery: 'unknown' });
    await cancelled();
  });

  it('is known to a handler that asks for the signal only later', async () => {
    const { client } = await service();
    const subscription = client.send('already', {}).subscribe();
    await seen.started.promise;
    subscription.unsubscribe();
    await cancelled();
  });

  it('before the handler gives its Observable is never a subscriber of it', async () => {
    const { client } = await service();
    const subscription = client.send('late-observable', {}).subscribe();
    await seen.started.promise;
    subscription.unsubscribe();
    await cancelled();
    await client.call('quick', {});
    expect(seen.subscribed).toBe(0);
  });

  it('before the handler gives its iterator returns it unread', async () => {
    const { client } = await service();
    const subscription = client.send('late-iterable', {}).subscribe();
    await seen.started.promise;
    subscription.unsubscribe();
    await until(() => seen.returned === 1, 'the iterator is returned');
    expect(seen.ticks).toBe(0);
  });

  it('does not abort the signal when the call had ended', async () => {
    const { client } = await service();
    await client.call('quick', {});
    await client.call('quick', {});
    expect(seen.aborted).toEqual([]);
  });
});
