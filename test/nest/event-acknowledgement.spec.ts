/** Acknowledged events between Nest applications: what `ack` waits for, what it says, and what is counted. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  Inject,
  Injectable,
  Scope,
  UseFilters,
  type ExceptionFilter,
  type NestInterceptor,
} from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, RpcException } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom, NEVER, of, tap, timer, type Observable } from 'rxjs';
import {
  MeshClientProxy,
  MeshContext,
  MeshError,
  MeshRecordBuilder,
  type EventStatus,
  type MeshCallOptions,
} from '../../lib/index.js';
import { gate, until, useBench, valuesOf, type Gate } from './nest-fixture.js';

let seen: string[] = [];
let gates: Gate<void>[] = [];
let contexts: MeshContext[] = [];
let torn = 0;

function held(): Promise<void> {
  const one = gate();
  gates.push(one);
  return one.promise;
}

function letGo(): void {
  for (const { open } of gates.splice(0)) open();
}

@Catch()
class SwallowingFilter implements ExceptionFilter {
  catch(): Observable<string> {
    return of('handled by the filter');
  }
}

@Catch()
class ThrowingFilter implements ExceptionFilter {
  catch(): never {
    throw new Error('the filter throws');
  }
}

@Controller()
class FirstController {
  @EventPattern<unknown>('async')
  async slow(): Promise<void> {
    await held();
    seen.push('slow');
  }
  @EventPattern<unknown>('observable')
  observable(): Observable<unknown> {
    return timer(20).pipe(tap(() => seen.push('observable')));
  }
  @EventPattern<unknown>('generator')
  async *generator(): AsyncIterable<number> {
    yield 1;
    await held();
    yield 2;
    seen.push('generator');
  }
  @EventPattern<unknown>('several')
  several(): void {
    seen.push('several at once');
  }
  @EventPattern<unknown>(['fails', 'fails.beside'])
  fails(): void {
    throw new Error('a secret');
  }
  @EventPattern<unknown>('fails.rpc')
  failsByRpc(): void {
    throw new RpcException({ code: 'E_FULL', left: 0 });
  }
  @EventPattern<unknown>('fails.generator')
  async *failsInGenerator(): AsyncIterable<number> {
    yield 1;
    throw new Error('a secret');
  }
  @UseFilters(SwallowingFilter)
  @EventPattern<unknown>('swallowed')
  swallowed(): void {
    throw new Error('a secret');
  }
  @UseFilters(ThrowingFilter)
  @EventPattern<unknown>('filter-throws')
  filterThrows(): void {
    throw new Error('a secret');
  }
  @EventPattern<unknown>('context')
  async context(_data: unknown, @Ctx() context: MeshContext): Promise<void> {
    contexts.push(context);
    await held();
  }
  @EventPattern<unknown>('never')
  never(_data: unknown, @Ctx() context: MeshContext): Observable<never> {
    contexts.push(context);
    return NEVER.pipe(tap({ unsubscribe: () => (torn += 1) }));
  }
  @EventPattern<unknown>('never.generator')
  async *neverGenerator(_data: unknown, @Ctx() context: MeshContext): AsyncIterable<number> {
    contexts.push(context);
    try {
      for (;;) {
        yield 1;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } finally {
      torn += 1;
    }
  }
  @MessagePattern('message')
  message(): string {
    return 'answer';
  }
}

@Controller()
class SecondController {
  @EventPattern<unknown>('several')
  async several(): Promise<void> {
    await held();
    seen.push('several later');
  }
  @EventPattern<unknown>('several.*')
  wild(): Observable<unknown> {
    return timer(20).pipe(tap(() => seen.push('wild')));
  }
  @EventPattern<unknown>('several.>')
  async wilder(): Promise<void> {
    await held();
    seen.push('wilder');
  }
  @EventPattern<unknown>('fails.beside')
  async beside(): Promise<void> {
    await held();
    seen.push('beside');
  }
}

@Injectable({ scope: Scope.REQUEST })
class Tag {
  constructor(@Inject(REQUEST) readonly request: { getData(): unknown }) {}
}
@Controller()
class ScopedController {
  constructor(private readonly tag: Tag) {}
  @EventPattern<unknown>('scoped')
  async scoped(): Promise<void> {
    await held();
    seen.push(JSON.stringify(this.tag.request.getData()));
  }
  @EventPattern<unknown>('scoped.fails')
  fails(): void {
    throw new RpcException('no room');
  }
}

const HANDLED: MeshCallOptions = { ack: 'handled' };
const RECEIVED: MeshCallOptions = { ack: 'received' };
const MASKED = { status: 'error', message: 'Internal server error' };

const emitted = (client: MeshClientProxy, pattern: unknown, data: unknown = {}): Promise<unknown> =>
  lastValueFrom(client.emit(pattern, data));
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => {
      throw new Error('it was acknowledged');
    },
    (error: unknown) => error,
  );
const counted = (events: EventStatus): Partial<EventStatus> =>
  Object.fromEntries(Object.entries(events).filter(([, count]) => count > 0));

const passing: NestInterceptor = { intercept: (_, next) => next.handle() };

describe.each([
  ['', undefined],
  [' behind an interceptor', passing],
])('an event that is to be acknowledged%s', (_, global) => {
  const bench = useBench();
  beforeEach(() => {
    seen = [];
    gates = [];
    contexts = [];
    torn = 0;
  });
  const start = async () => {
    const started = await bench.start(
      { controllers: [FirstController, SecondController, ScopedController], providers: [Tag] },
      { configure: (app) => void (global && app.useGlobalInterceptors(global)) },
    );
    return { ...started, handled: started.client.with(HANDLED), received: started.client.with(RECEIVED) };
  };
  /** Emits, shows that nothing acknowledges it while its handlers run, and lets them end. */
  const waitsFor = async (client: MeshClientProxy, pattern: string, count = 1): Promise<void> => {
    let over = false;
    const done = emitted(client, pattern).then(() => (over = true));
    await until(() => gates.length === count, 'the handlers run');
    await new Promise((resolve) => setTimeout(resolve, 20)); // An acknowledgement would have come by now.
    expect(over).toBe(false);
    letGo();
    await done;
  };

  it.each([
    ['async', ['slow']],
    ['generator', ['generator']],
    ['several', ['several at once', 'several later']],
    ['several.events', ['wild', 'wilder']],
    ['scoped', ['{}']],
  ])('as handled waits for all of its handlers: %s', async (pattern, names) => {
    const { handled } = await start();
    await waitsFor(handled, pattern);
    expect(seen.toSorted()).toEqual(names);
  });

  it('as handled waits for Observables to complete', async () => {
    const { handled } = await start();
    await emitted(handled, 'observable');
    expect(seen).toEqual(['observable']);
  });

  it('as received does not wait for them', async () => {
    const { received } = await start();
    await emitted(received, 'async');
    expect(seen).toEqual([]);
    letGo();
    await until(() => seen.length === 1, 'the handler ends');
  });

  it('gives its subscriber one undefined and completes, as every emit does', async () => {
    const { handled, received } = await start();
    for (const client of [handled, received]) {
      await expect(valuesOf(client.emit('observable', {}))).resolves.toEqual([undefined]);
      await expect(firstValueFrom(client.emit('swallowed', {}))).resolves.toBeUndefined();
    }
  });

  it.each([
    ['fails', MASKED],
    ['fails.rpc', { code: 'E_FULL', left: 0 }],
    ['fails.generator', MASKED],
    ['filter-throws', global === undefined ? MASKED : { status: 'error', message: 'the filter throws' }],
    ['scoped.fails', { status: 'error', message: 'no room' }],
  ])('as handled errors with what a call would get when a handler fails: %s', async (pattern, expected) => {
    const { handled, server, logs } = await start();
    const error = await failure(emitted(handled, pattern));
    expect(error).toEqual(expected);
    if (expected === MASKED) {
      const { errorId } = error as { errorId?: string };
      expect(logs.find('error', `errorId ${errorId}`)).toHaveLength(1);
    }
    await until(() => server['node'].status.events.failed === 1, 'it is counted');
    expect(counted(server['node'].status.events)).toEqual({ received: 1, failed: 1 });
    expect(counted(handled.unwrap().status.events)).toEqual({ sent: 1 });
  });

  it('as handled errors only when all handlers have ended, though one has failed', async () => {
    const { handled } = await start();
    let over = false;
    const failing = failure(emitted(handled, 'fails.beside')).finally(() => (over = true));
    await until(() => gates.length === 1, 'the other handler runs');
    await new Promise((resolve) => setTimeout(resolve, 20)); // The error would have come by now.
    expect(over).toBe(false);
    letGo();
    expect(await failing).toEqual(MASKED);
    expect(seen).toEqual(['beside']);
  });

  it('as received is acknowledged though its handler fails, which is logged and counted there', async () => {
    const { received, server, logs } = await start();
    await emitted(received, 'fails');
    await until(() => server['node'].status.events.failed === 1, 'it is counted');
    expect(logs.find('error', 'a secret')).toHaveLength(1);
  });

  it('is handled where a filter has dealt with what was thrown', async () => {
    const { handled, server } = await start();
    await emitted(handled, 'swallowed');
    expect(counted(server['node'].status.events)).toEqual({ received: 1 });
  });

  it.each([RECEIVED, HANDLED])('is refused where no handler takes it: %j', async (options) => {
    const { client, server, logs } = await start();
    const error = await failure(emitted(client.with(options), 'nobody.knows'));
    expect(error).toMatchObject({ code: 'UNIMPLEMENTED', delivery: 'refused', pattern: 'nobody.knows' });
    expect((error as MeshError).message).toContain('nobody.knows');
    expect(logs.find('error', 'no matching event handler', 'nobody.knows', 'MeshServer')).toHaveLength(1);
    expect(counted(server['node'].status.events)).toEqual({ received: 1, unhandled: 1 });
    expect(counted(client.unwrap().status.events)).toEqual({ sent: 1, unroutable: 1 });
  });

  it('runs a message handler where only that has its pattern', async () => {
    const { handled } = await start();
    await emitted(handled, 'message');
  });

  it('has the deadline of its sender, and a signal that aborts when that gives up', async () => {
    const { handled } = await start();
    await emitted(handled, 'swallowed');
    const error = await failure(emitted(handled.with({ timeoutMs: 60 }), 'context'));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', delivery: 'unknown' });
    const [context] = contexts;
    expect(context?.deadline).toBeDefined();
    await until(() => context?.signal.aborted === true, 'the handler is told');
    letGo();
  });

  it('as received has neither: nobody waits for the handler', async () => {
    const { received } = await start();
    await emitted(received, 'context');
    expect(contexts[0]?.deadline).toBeUndefined();
    expect(contexts[0]?.signal.aborted).toBe(false);
    letGo();
  });

  it.each(['never', 'never.generator'])(
    'that is cancelled ends what its handlers do: %s',
    async (pattern) => {
      const { handled } = await start();
      const controller = new AbortController();
      const failing = failure(emitted(handled.with({ signal: controller.signal }), pattern));
      await until(() => contexts.length === 1, 'the handler runs');
      controller.abort();
      expect(await failing).toMatchObject({ code: 'CANCELLED' });
      await until(() => contexts[0]?.signal.aborted === true && torn === 1, 'it has ended');
    },
  );

  it('can be asked for by a record, which outranks the client', async () => {
    const { client, received } = await start();
    for (const one of [client, received]) {
      const record = new MeshRecordBuilder({}).setAck('handled').build();
      expect(await failure(lastValueFrom(one.emit('fails', record)))).toEqual(MASKED);
    }
    const record = new MeshRecordBuilder({}).setAck('handled').setMetadata({ a: 'b' }).build();
    expect(await failure(client.broadcast('fails', record))).toEqual(MASKED);
  });

  it('is logged when it fails and nobody listens', async () => {
    const { handled, logs } = await start();
    handled.emit('fails.rpc', {});
    await until(() => logs.find('error', '"fails.rpc" failed', 'E_FULL').length === 1, 'it is logged');
  });

  it('does not change calls', async () => {
    const { handled } = await start();
    await expect(handled.call('message', {})).resolves.toBe('answer');
  });

  it('runs the processing hooks around its handlers, and is acknowledged before the end hook', async () => {
    const order: string[] = [];
    const { client } = await bench.start(
      { controllers: [FirstController, SecondController] },
      {
        configure: (app, server) => {
          if (global) app.useGlobalInterceptors(global);
          server.setOnProcessingStartHook((_transport, context, done) => {
            order.push(`start ${(context as MeshContext).getPattern()}`);
            void done();
          });
          server.setOnProcessingEndHook(() => void order.push('end'));
        },
      },
    );
    await waitsFor(client.with(HANDLED), 'several');
    await until(() => order.length === 2, 'the hooks have run');
    expect(order).toEqual(['start several', 'end']);
    expect(seen).toEqual(['several at once', 'several later']);
  });

  it('whose hook throws fails', async () => {
    const { client, logs } = await bench.start(
      { controllers: [FirstController] },
      {
        configure: (_app, server) => {
          server.setOnProcessingStartHook(() => {
            throw new Error('the hook throws');
          });
        },
      },
    );
    for (const options of [RECEIVED, HANDLED])
      expect(await failure(emitted(client.with(options), 'async'))).toEqual(MASKED);
    expect(logs.find('error', 'the hook throws')).toHaveLength(2);
  });
});

describe('what is waited for', () => {
  const bench = useBench();

  it.each(['later', '', null, 1, true])('must be received or handled, and not %j', (ack) => {
    const client = bench.client({ registry: 'memory:none', to: 'service' });
    const wrong = { ack } as never as MeshCallOptions;
    expect(() => client.with(wrong)).toThrow("ack must be 'received' or 'handled'");
    expect(() => new MeshRecordBuilder(1).setAck(ack as never)).toThrow(`not ${JSON.stringify(ack)}`);
  });
});
