/** After a call nothing is left of it at either end, however it ended; and what its handler holds hears of the end at once. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { getEventListeners, once } from 'node:events';
import { finalize, NEVER, Observable, of, type Subscription } from 'rxjs';
import { MeshContext, MeshError, type MeshClientProxy, type MeshNode } from '../../lib/index.js';
import { ChannelPattern, type MeshChannel } from '../../lib/index.js';
import { eventually } from '../support/eventually.js';
import { heldBy, TimerWatch, type Counts } from '../support/remains.js';
import { useBench, type Started } from './nest-fixture.js';

/** How often each way is gone: what is left once may be hidden by what was there before, not what is left each time. */
const TIMES = 5;

/** State, open calls and raw channels of a peer with which nothing is under way. */
const IDLE = ['connected', 0, 0];

/** What the handlers have seen. */
const seen = { started: 0, aborted: 0, tornDown: 0, returned: 0 };

function begin(ctx: MeshContext): void {
  seen.started += 1;
  ctx.signal.addEventListener('abort', () => (seen.aborted += 1), { once: true });
}

@Controller()
class EndlessController {
  @MessagePattern('echo')
  echo(data: unknown): unknown {
    return data;
  }
  @MessagePattern('fail')
  fail(): never {
    throw new Error('on purpose');
  }
  @MessagePattern('hang')
  async hang(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Promise<void> {
    begin(ctx);
    await once(ctx.signal, 'abort');
  }
  @MessagePattern('observable')
  observable(@Payload() _data: unknown, @Ctx() ctx: MeshContext): Observable<never> {
    begin(ctx);
    return NEVER.pipe(finalize(() => (seen.tornDown += 1)));
  }
  @MessagePattern('iterator')
  iterator(@Payload() _data: unknown, @Ctx() ctx: MeshContext): AsyncIterable<number> {
    begin(ctx);
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: () => {
          seen.returned += 1;
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
  }
  @MessagePattern('some')
  some(): Observable<number> {
    return of(1, 2, 3);
  }
  @MessagePattern('some-then-fail')
  async *someThenFail(): AsyncIterable<number> {
    yield 1;
    throw new Error('on purpose');
  }
  @MessagePattern('collect')
  async collect(values: AsyncIterable<number>): Promise<number> {
    let count = 0;
    for await (const _ of values) count += 1;
    return count;
  }
  @MessagePattern('first')
  async first(values: AsyncIterable<number>): Promise<unknown> {
    for await (const value of values) return value;
    return undefined;
  }
  @EventPattern('heard')
  heard(_data: unknown): void {}
  @EventPattern('broken')
  broken(_data: unknown): void {
    throw new Error('on purpose');
  }
  @EventPattern('hanging')
  async hanging(_data: unknown): Promise<void> {
    seen.started += 1;
    await new Promise(() => undefined);
  }
  @ChannelPattern('echo')
  async *channel(channel: MeshChannel): AsyncIterable<unknown> {
    seen.started += 1;
    for await (const value of channel) yield value;
  }
}

/** A stream of input that goes on for as long as it is read. */
async function* endless(): AsyncGenerator<number> {
  for (let n = 1; ; n += 1) {
    yield n;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function* three(): AsyncGenerator<number> {
  yield* [1, 2, 3];
}

/** The pair of nodes of a test. */
interface Rig extends Started {
  readonly caller: MeshNode;
  readonly callee: MeshNode;
  /** Breaks the connection. */
  sever(): void;
}

async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'answered',
    (error: unknown) => (MeshError.is(error) ? error.code : 'error'),
  );
}

/** Waits until so many handlers more have begun, and then does something. */
async function afterStart(makesCall: () => unknown, then: () => unknown): Promise<unknown> {
  const before = seen.started;
  const made = makesCall();
  await eventually('the handler runs', () => seen.started > before);
  await then();
  return made;
}

function named(name: string, counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([what, count]) => [`${name}: ${what}`, count]));
}

/** What is counted otherwise than before, as `before -> now`. */
function changes(before: Counts, now: Counts): Record<string, string> {
  const names = new Set([...Object.keys(before), ...Object.keys(now)]);
  return Object.fromEntries(
    [...names]
      .filter((name) => (before[name] ?? 0) !== (now[name] ?? 0))
      .map((name) => [name, `${before[name] ?? 0} -> ${now[name] ?? 0}`]),
  );
}

async function drained(values: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of values);
}

/** The kinds of calls that have not ended by themselves. */
const HANGING: Readonly<Record<string, (client: MeshClientProxy) => Promise<unknown>>> = {
  'a call': (client) => client.call('hang', {}),
  'a call with an Observable for its answer': (client) => client.call('observable', {}),
  'a call with an iterator for its answer': (client) => client.call('iterator', {}),
  'a call with a stream of input': (client) => client.call('hang', endless()),
  'a stream of answers at the pace of its reader': (client) => drained(client.stream('observable', {})),
  'a stream of answers from an iterator': (client) => drained(client.stream('iterator', {})),
};

/** Calls that end by themselves, and how. */
const ENDING: Readonly<Record<string, [expected: string, (client: MeshClientProxy) => Promise<unknown>]>> = {
  'a call that is answered': ['answered', (client) => client.call('echo', 1)],
  'a call with several answers': ['answered', (client) => client.call('some', {})],
  'a call that fails': ['error', (client) => client.call('fail', {})],
  'a call that fails after its first answer': ['error', (client) => client.call('some-then-fail', {})],
  'a call that nobody answers': ['error', (client) => client.call('nobody', {})],
  'a call whose input is read to its end': ['answered', (client) => client.call('collect', three())],
  'a call whose input is not read to its end': ['answered', (client) => client.call('first', endless())],
  'a call with input that nobody answers': ['error', (client) => client.call('nobody', endless())],
  'a call whose input fails': [
    'error',
    (client) => client.call('collect', new Observable((observer) => observer.error(new Error('input')))),
  ],
  'a stream of answers that is read to its end': ['answered', (client) => drained(client.stream('some', {}))],
  'a stream of answers that fails': ['error', (client) => drained(client.stream('some-then-fail', {}))],
  'a call to a node that is not there': [
    'UNAVAILABLE',
    (client) =>
      client
        .to({ service: 'service', nodeId: '00000000-0000-4000-8000-000000000000' })
        .with({ timeoutMs: 20 })
        .call('echo', 1),
  ],
  'an event that is handled': ['answered', (client) => eventOf(client.with({ ack: 'handled' }), 'heard')],
  'an event that is received': ['answered', (client) => eventOf(client.with({ ack: 'received' }), 'heard')],
  'an event whose handler fails': ['error', (client) => eventOf(client.with({ ack: 'handled' }), 'broken')],
  'an event that nobody handles': [
    'UNIMPLEMENTED',
    (client) => eventOf(client.with({ ack: 'handled' }), 'unheard-of'),
  ],
  'a channel that both sides end': ['answered', (client) => talk(client, (channel) => channel.end())],
  'a channel that one side closes': ['answered', (client) => talk(client, (channel) => channel.close())],
  'a channel that there is not': ['NOT_FOUND', (client) => client.channel('none')],
};

function eventOf(client: MeshClientProxy, pattern: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.emit(pattern, {}).subscribe({ error: reject, complete: resolve });
  });
}

async function talk(client: MeshClientProxy, end: (channel: MeshChannel) => void): Promise<void> {
  const channel = await client.channel('echo');
  await channel.send('hello');
  await channel[Symbol.asyncIterator]().next();
  end(channel);
  await channel.whenClosed;
}

/** The ways in which a caller ends a call that goes on; each resolves once the caller knows of the end. */
const ENDS: Readonly<
  Record<string, (rig: Rig, hanging: (client: MeshClientProxy) => Promise<unknown>) => Promise<void>>
> = {
  'an AbortSignal': async ({ client }, hanging) => {
    const controller = new AbortController();
    const { signal } = controller;
    const call = afterStart(
      () => outcomeOf(hanging(client.with({ signal }))),
      () => controller.abort(),
    );
    expect(await call).toBe('CANCELLED');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  },
  'its time limit': async ({ client }, hanging) => {
    const { signal } = new AbortController();
    expect(await outcomeOf(hanging(client.with({ timeoutMs: 40, signal })))).toBe('DEADLINE_EXCEEDED');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  },
  'the loss of the peer': async (rig, hanging) => {
    const { signal } = new AbortController();
    const call = afterStart(
      () => outcomeOf(hanging(rig.client.with({ signal }))),
      () => rig.sever(),
    );
    expect(await call).toBe('UNAVAILABLE');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    // It is reached again by itself, so that there is as much as before.
    expect(await rig.client.call('echo', 1)).toBe(1);
  },
};

/** Ways of those who subscribe or iterate themselves. */
const LEAVING: Readonly<Record<string, (client: MeshClientProxy) => { leave(): unknown }>> = {
  'a call': (client) => leaver(client.send('hang', {}).subscribe()),
  'a call with an Observable for its answer': (client) => leaver(client.send('observable', {}).subscribe()),
  'a call with an iterator for its answer': (client) => leaver(client.send('iterator', {}).subscribe()),
  'a call with a stream of input': (client) => leaver(client.send('hang', endless()).subscribe()),
  'a stream of answers at the pace of its reader': (client) => reader(client.stream('observable', {})),
  'a stream of answers from an iterator': (client) => reader(client.stream('iterator', {})),
};

function leaver(subscription: Subscription): { leave(): unknown } {
  return { leave: () => subscription.unsubscribe() };
}

function reader(values: AsyncIterable<unknown>): { leave(): unknown } {
  const iterator = values[Symbol.asyncIterator]();
  void iterator.next().catch(() => undefined);
  return { leave: () => iterator.return?.() };
}

describe('after a call', () => {
  const bench = useBench();
  let rig: Rig;
  let timers: TimerWatch;

  beforeEach(async () => {
    timers = new TimerWatch();
    const started = await bench.start(
      { controllers: [EndlessController] },
      { options: { keepAlive: { intervalMs: 0 }, drainTimeoutMs: 500 } },
    );
    const caller: MeshNode = started.client.unwrap();
    rig = {
      ...started,
      caller,
      callee: started.server['node'],
      sever: () => caller['directories'].nodes[0]?.['connection']['session']?.destroy(),
    };
    await started.client.call('echo', 1);
    await started.client.call('collect', three());
    await eventually('both nodes are idle', () => {
      expect(peers()).toEqual({ caller: [IDLE], callee: [IDLE] });
      return true;
    });
  });
  afterEach(() => timers.close());

  const remains = (): Counts => ({
    ...named('the caller', heldBy(rig.caller)),
    ...named('the callee', heldBy(rig.callee)),
    ...named('timers', timers.waiting()),
  });
  const peers = (): unknown => ({
    caller: rig.caller.status.peers.map(({ state, openCalls, openChannels }) => [
      state,
      openCalls,
      openChannels,
    ]),
    callee: rig.callee.status.peers.map(({ state, openCalls, openChannels }) => [
      state,
      openCalls,
      openChannels,
    ]),
  });

  /** Goes the way several times; then both nodes hold what they held before. */
  async function leavesNothing(way: () => Promise<void>): Promise<void> {
    const before = remains();
    for (let n = 0; n < TIMES; n += 1) await way();
    await eventually('nothing is left', () => {
      expect(changes(before, remains())).toEqual({});
      return true;
    });
    expect(peers()).toEqual({ caller: [IDLE], callee: [IDLE] });
  }

  it('what a call holds would be seen, at both ends', async () => {
    const before = remains();
    const controller = new AbortController();
    const call = outcomeOf(
      rig.client.with({ signal: controller.signal, timeoutMs: 20_000 }).call('hang', {}),
    );
    await eventually('the call is seen', () => {
      const found = changes(before, remains());
      expect(Object.keys(found).filter((name) => name.startsWith('timers: transport/'))).not.toEqual([]);
      expect(found).toMatchObject({
        'the caller: OutboundCall': '0 -> 1',
        'the callee: InboundCall': '0 -> 1',
      });
      return true;
    });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    controller.abort();
    expect(await call).toBe('CANCELLED');
  });

  it.each(Object.keys(ENDING))('nothing is left of %s', async (name) => {
    const [expected, way] = ENDING[name] ?? ['', (): Promise<void> => Promise.resolve()];
    const { signal } = new AbortController();
    await leavesNothing(async () => {
      expect(await outcomeOf(way(rig.client.with({ signal })))).toBe(expected);
    });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it.each(Object.keys(ENDS).flatMap((end) => Object.keys(HANGING).map((kind) => [kind, end] as const)))(
    'nothing is left of %s that ends by %s',
    async (kind, end) => {
      await leavesNothing(async () => {
        await ENDS[end]?.(rig, HANGING[kind] ?? (() => Promise.resolve()));
      });
    },
  );

  it.each(Object.keys(LEAVING))('nothing is left of %s whose caller leaves', async (kind) => {
    await leavesNothing(async () => {
      await afterStart(
        () => LEAVING[kind]?.(rig.client),
        () => undefined,
      ).then((call) => (call as { leave(): unknown }).leave());
    });
  });

  it.each(Object.keys(HANGING))(
    'nothing is left of %s at the callee whose caller is closed',
    async (kind) => {
      const before = remains();
      for (let n = 0; n < TIMES; n += 1) {
        const client = bench.client({ registry: rig.registry, to: 'service', keepAlive: { intervalMs: 0 } });
        const call = afterStart(
          () => outcomeOf(HANGING[kind]?.(client) ?? Promise.resolve()),
          () => client.close(),
        );
        expect(await call).toBe('UNAVAILABLE');
      }
      await eventually('nothing is left', () => {
        expect(changes(before, remains())).toEqual({});
        return true;
      });
    },
  );

  it('nothing is left of an event whose acknowledgement stays out', async () => {
    const hanging = (client: MeshClientProxy): Promise<void> =>
      eventOf(client.with({ ack: 'handled' }), 'hanging');
    await leavesNothing(async () => {
      expect(await outcomeOf(hanging(rig.client.with({ timeoutMs: 40 })))).toBe('DEADLINE_EXCEEDED');
    });
  });

  it('nothing is left of a channel whose peer is lost', async () => {
    await leavesNothing(async () => {
      const channel = await rig.client.channel('echo');
      rig.sever();
      expect(await channel.whenClosed).toMatchObject({ code: 'UNAVAILABLE' });
      expect(await rig.client.call('echo', 1)).toBe(1);
    });
  });
});

describe('a caller that leaves', () => {
  const bench = useBench();

  it.each(Object.keys(LEAVING))('is heard by the handler of %s within one round trip', async (kind) => {
    const { client } = await bench.start({ controllers: [EndlessController] });
    await client.call('echo', 1);
    const before = { ...seen };
    const call = (await afterStart(
      () => LEAVING[kind]?.(client),
      () => undefined,
    )) as { leave(): unknown };
    call.leave();
    // What was sent after the cancel is answered after it has done its work.
    await client.call('echo', 1);
    expect(seen.aborted - before.aborted).toBe(1);
    expect(seen.tornDown - before.tornDown).toBe(
      kind.includes('Observable') || kind.includes('pace') ? 1 : 0,
    );
    expect(seen.returned - before.returned).toBe(kind.includes('iterator') ? 1 : 0);
  });
});
