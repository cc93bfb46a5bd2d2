/** Messages over `largeMessageBytes`: on streams of their own, in both directions, whichever side has dialled. */
import { afterEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { Target } from '../../lib/node/target.js';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import type { ResponsePacket } from '../../lib/protocol/packet.js';
import type { InboundCall } from '../../lib/transport/inbound-call.js';
import type { PacketChannel } from '../../lib/transport/packet-channel.js';
import type { Session } from '../../lib/transport/session.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, handlersOf, Mesh, type Answers } from '../support/mesh-fixture.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const SMALL = 'a';
/** Over the limit that these tests set. */
const LARGE_BYTES = 2_000;
const large = (mark: unknown): string => `${JSON.stringify(mark)}:`.padEnd(LARGE_BYTES, 'ä😀');
const OPTIONS = { largeMessageBytes: 1_000 };

interface Pair {
  readonly hub: MeshNode;
  readonly worker: MeshNode;
  /** The one channel between the two, as each has it. */
  readonly atHub: PacketChannel;
  readonly atWorker: PacketChannel;
}

const REGISTER = 'register';

/** Two nodes with the same answers; the worker has dialled the hub. */
async function pair(answers: Answers, options: Partial<MeshOptions> = {}): Promise<Pair> {
  const channels: PacketChannel[] = [];
  const calls = {
    ...answers.calls,
    [REGISTER]: (_: unknown, __: unknown, { channel }: { channel: PacketChannel | undefined }) => {
      if (channel !== undefined) channels.push(channel);
      return 'welcome';
    },
  };
  const hub = await mesh.serve('hub', { ...answers, calls }, { ...OPTIONS, ...options });
  const worker = mesh.node({ service: 'worker', ...OPTIONS, ...options });
  worker.setHandlers(handlersOf(answers));
  await callOf(worker, { service: 'hub' }, REGISTER);
  const [atHub] = channels;
  const [atWorker] = worker['directories'].dialledChannels;
  if (atHub === undefined || atWorker === undefined) throw new Error('there is no channel');
  return { hub, worker, atHub, atWorker };
}

/** Who calls, and where to. */
type Way = readonly [name: string, of: (both: Pair) => readonly [MeshNode, Target]];
const WAYS: readonly Way[] = [
  ['from the dialler', ({ worker, atWorker }) => [worker, { channel: atWorker }]],
  ['from the dialled side', ({ hub, atHub }) => [hub, { channel: atHub }]],
];

function sessionOf(channel: PacketChannel): Session {
  return (channel.streams as unknown as { session: Session }).session;
}

/** What both sides hold for calls and large messages. */
function held({ atHub, atWorker }: Pair): unknown {
  return [atHub, atWorker].map((channel) => ({
    calls: channel.openCalls,
    large: channel.large.size,
    bytes: channel.large['pendingBytes'],
    answers: channel['inbound']['answers']['pending'].size,
    tokens: sessionOf(channel).tokens.size,
    arrivals: sessionOf(channel).arrivals.size,
    openings: (channel.streams as unknown as { openings?: Set<unknown> }).openings?.size ?? 0,
    wished: channel.wishedStreams,
  }));
}

const NOTHING = { calls: 0, large: 0, bytes: 0, answers: 0, tokens: 0, arrivals: 0, openings: 0, wished: 0 };

async function expectNothingHeld(both: Pair): Promise<void> {
  await eventually('nothing is held', () => {
    expect(held(both)).toEqual([NOTHING, NOTHING]);
    return true;
  });
}

interface Seen {
  readonly packets: ResponsePacket[];
  readonly ends: unknown[];
  cancel(): void;
}

/** Makes a call and notes all that is told of it. */
function watch(node: MeshNode, target: Target, pattern: string, data: unknown, timeoutMs = 5_000): Seen {
  const packets: ResponsePacket[] = [];
  const ends: unknown[] = [];
  const call = node.request(
    target,
    { pattern, route: pattern, data, metadata: undefined, timeoutMs },
    {
      onPacket(packet) {
        if (packet.response !== undefined) packets.push(packet);
        if (packet.isDisposed === true || packet.err !== undefined) ends.push(packet.err ?? 'end');
      },
      onFailure: (error) => void ends.push(error),
    },
  );
  return { packets, ends, cancel: () => call.cancel() };
}

const ECHO: Answers = { calls: { echo: (data: unknown) => data } };

describe.each(WAYS)('A large message %s', (_way, of) => {
  it('as data and as the answer arrives as it was sent, and leaves nothing behind', async () => {
    const both = await pair(ECHO);
    const [node, target] = of(both);
    const data = { text: large('data'), list: [1, null, { deep: 'ß' }] };
    expect(await callOf(node, target, 'echo', data)).toEqual(data);
    await expectNothingHeld(both);
    expect(mesh.warnings).toEqual([]);
  });

  it('does not go onto the packet channel', async () => {
    const both = await pair(ECHO);
    const [node, target] = of(both);
    const sizes: number[] = [];
    for (const channel of [both.atHub, both.atWorker]) {
      const { frames } = channel;
      const send = frames.send.bind(frames);
      frames.send = (payload) => {
        sizes.push(payload.length);
        send(payload);
      };
    }
    await callOf(node, target, 'echo', large('data'));
    expect(sizes.length).toBeGreaterThan(0);
    expect(Math.max(...sizes)).toBeLessThan(OPTIONS.largeMessageBytes);
  });

  it('goes onto the packet channel where that is wanted', async () => {
    const both = await pair(ECHO, { largeMessageBytes: 0 });
    const [node, target] = of(both);
    const before = both.atHub.wishedStreams + both.atWorker.wishedStreams;
    expect(await callOf(node, target, 'echo', large('data'))).toBe(large('data'));
    expect(both.atHub.wishedStreams + both.atWorker.wishedStreams).toBe(before);
  });

  it('as an event reaches its handler', async () => {
    const events: unknown[] = [];
    const both = await pair({ event: ({ data }) => void events.push(data) });
    const [node, target] = of(both);
    await node.emit(target, {
      pattern: 'e',
      route: 'e',
      data: large('event'),
      metadata: undefined,
      timeoutMs: 1_000,
    });
    await eventually('the event', () => events.length > 0);
    expect(events).toEqual([large('event')]);
    await expectNothingHeld(both);
  });

  it('over limits.maxFrameBytes fails here, unsent, and names the option', async () => {
    const both = await pair(ECHO, { limits: { maxFrameBytes: 4_096 } });
    const [node, target] = of(both);
    expect(await failureOf(callOf(node, target, 'echo', large('x').padEnd(5_000)))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'not-sent',
      message: expect.stringContaining('limits.maxFrameBytes (4096)'),
    });
    await expectNothingHeld(both);
  });

  it('is overtaken by small calls that are made later', async () => {
    const both = await pair(ECHO, { limits: { maxFrameBytes: 64 << 20 }, largeMessageBytes: 262_144 });
    const [node, target] = of(both);
    const order: string[] = [];
    const note = (name: string) => (): void => void order.push(name);
    const huge = callOf(node, target, 'echo', 'x'.repeat(20 << 20), { timeoutMs: 25_000 }).then(
      note('large'),
    );
    for (let at = 0; at < 20; at += 1) {
      await callOf(node, target, 'echo', at).then(note('small'));
    }
    await huge;
    expect(order).toEqual([...Array<string>(20).fill('small'), 'large']);
    await expectNothingHeld(both);
  });

  it('that is cancelled on its way reaches no handler, or cancels it', async () => {
    const calls: InboundCall[] = [];
    const both = await pair({ calls: { keep: (_: unknown, call: InboundCall) => void calls.push(call) } });
    const [node, target] = of(both);
    for (let at = 0; at < 20; at += 1) {
      const seen = watch(node, target, 'keep', large(at));
      for (let turn = 0; turn < at; turn += 1) await new Promise(setImmediate);
      seen.cancel();
      expect(seen.ends).toEqual([]);
    }
    await expectNothingHeld(both);
    expect(calls.every(({ open }) => !open)).toBe(true);
    expect(mesh.warnings).toEqual([]);
  });

  it('fails its call when the session is lost, and leaves nothing behind', async () => {
    const both = await pair({ calls: { keep: () => undefined } }, { limits: { maxFrameBytes: 64 << 20 } });
    const [node, target] = of(both);
    const seen = watch(node, target, 'keep', 'x'.repeat(20 << 20), 20_000);
    await pause(5); // Part of it is on its way.
    sessionOf(both.atHub).destroy();
    await eventually('the call has ended', () => seen.ends.length > 0);
    expect(seen.ends).toEqual([expect.objectContaining({ code: 'UNAVAILABLE' })]);
    await expectNothingHeld(both);
  });
});

describe.each(WAYS)('The items of an answer, for a call %s', (_way, of) => {
  /** What a generated handler does: items, how many of them it gives in one go, and how it ends. */
  const plan = fc.record({
    items: fc.array(fc.boolean(), { maxLength: 12 }),
    end: fc.constantFrom('complete', 'respond', 'respond large', 'fail'),
    paced: fc.boolean(),
  });
  type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

  async function run({ items, end, paced }: Plan, call: InboundCall): Promise<void> {
    for (const [at, isLarge] of items.entries()) {
      if (!call.open) return;
      call.next(isLarge ? large(at) : at);
      if (paced && call.congested) await call.ready();
    }
    if (end === 'complete') call.complete();
    else if (end === 'fail') call.fail('failed');
    else call.respond(end === 'respond' ? 'last' : large('last'));
  }

  function valuesOf({ items, end }: Plan): unknown[] {
    const values: unknown[] = items.map((isLarge, at) => (isLarge ? large(at) : at));
    if (end === 'respond') values.push('last');
    if (end === 'respond large') values.push(large('last'));
    return values;
  }

  const PLANNED: Answers = {
    calls: {
      plan: (data: Plan, call: InboundCall) => {
        run(data, call).catch((error: unknown) => call.fail(String(error)));
      },
    },
  };

  it('keep their order and have one end, large and small mixed', async () => {
    const both = await pair(PLANNED);
    const [node, target] = of(both);
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 4 }), async (plans) => {
        const seen = plans.map((each) => watch(node, target, 'plan', each));
        await eventually('all have ended', () => seen.every(({ ends }) => ends.length > 0));
        for (const [at, { packets, ends }] of seen.entries()) {
          const each = plans[at];
          if (each === undefined) continue;
          expect(packets.map(({ response }) => response)).toEqual(valuesOf(each));
          expect(ends).toEqual([each.end === 'fail' ? 'failed' : 'end']);
        }
        await expectNothingHeld(both);
      }),
      { numRuns: 40 },
    );
    expect(mesh.warnings).toEqual([]);
  });

  it('stop at any moment when the call is cancelled, and nothing is left', async () => {
    const both = await pair(PLANNED);
    const [node, target] = of(both);
    await fc.assert(
      fc.asyncProperty(plan, fc.nat({ max: 40 }), async (each, turns) => {
        const seen = watch(node, target, 'plan', each);
        for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
        const before = seen.packets.length;
        const ended = seen.ends.length;
        seen.cancel();
        await expectNothingHeld(both);
        expect(seen.packets.length).toBe(before);
        expect(seen.ends.length).toBe(ended);
        expect(seen.packets.map(({ response }) => response)).toEqual(valuesOf(each).slice(0, before));
      }),
      { numRuns: 60 },
    );
    expect(mesh.warnings).toEqual([]);
  });

  it('end with one error when the session is lost at any moment, and what came is in order', async () => {
    await fc.assert(
      fc.asyncProperty(plan, fc.nat({ max: 30 }), async (each, turns) => {
        const both = await pair(PLANNED);
        const [node, target] = of(both);
        const seen = watch(node, target, 'plan', each);
        for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
        sessionOf(turns % 2 === 0 ? both.atHub : both.atWorker).destroy();
        await eventually('it has ended', () => seen.ends.length > 0);
        await expectNothingHeld(both);
        expect(seen.ends.length).toBe(1);
        expect(seen.packets.map(({ response }) => response)).toEqual(
          valuesOf(each).slice(0, seen.packets.length),
        );
        await mesh.close();
      }),
      { numRuns: 12 },
    );
  }, 60_000);

  it('wait for the large one before them, so that a generator does not run ahead', async () => {
    let ahead = 0;
    const both = await pair({
      calls: {
        flood: async (_: unknown, call: InboundCall) => {
          for (; ahead < 200 && call.open; ahead += 1) {
            call.next('x'.repeat(2 << 20));
            // One large item is under way at most.
            expect(call.congested).toBe(true);
            await call.ready();
          }
          call.complete();
          return undefined;
        },
      },
    });
    const [node, target] = of(both);
    const most: number[] = [];
    const seen = watch(node, target, 'flood', 0);
    await eventually('some have come', () => {
      most.push(ahead - seen.packets.length);
      return seen.packets.length > 10;
    });
    seen.cancel();
    expect(Math.max(...most)).toBeLessThanOrEqual(3);
    await expectNothingHeld(both);
  });
});

describe('A node that drains', () => {
  it.each(WAYS)('lets a large answer that is on its way arrive, asked for %s', async (_way, of) => {
    let finish: () => void = () => undefined;
    const both = await pair(
      {
        calls: {
          slow: (_: unknown, call: InboundCall) => {
            finish = () => call.respond('x'.repeat(12 << 20));
          },
        },
      },
      { limits: { maxFrameBytes: 64 << 20 } },
    );
    const [node, target] = of(both);
    const answer = callOf(node, target, 'slow', 1, { timeoutMs: 20_000 });
    const callee = node === both.hub ? both.worker : both.hub;
    const channel = node === both.hub ? both.atWorker : both.atHub;
    await eventually('it is handled', () => channel.servedCalls === 1);
    const stopping = callee.stopServing();
    finish();
    expect(((await answer) as string).length).toBe(12 << 20);
    await within(stopping, 5_000);
  });
});

describe('Large messages of a node that does not take them', () => {
  it('of the size that the receiver refuses fail the one call by name', async () => {
    const hub = await mesh.serve('hub', ECHO, { ...OPTIONS, limits: { maxFrameBytes: 1_500 } });
    const worker = mesh.node({ service: 'worker', ...OPTIONS });
    expect(await failureOf(callOf(worker, { service: 'hub' }, 'echo', large('x')))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      delivery: 'refused',
    });
    expect(await callOf(worker, { service: 'hub' }, 'echo', SMALL)).toBe(SMALL);
    expect(hub.status.draining).toBe(false);
  });

  it('as an answer fail the one call by name', async () => {
    await mesh.serve('hub', { calls: { big: () => large('x') } }, OPTIONS);
    const worker = mesh.node({ service: 'worker', ...OPTIONS, limits: { maxFrameBytes: 1_500 } });
    const error = await failureOf(callOf(worker, { service: 'hub' }, 'big', 1));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', delivery: 'unknown' });
    expect(MeshError.is(error)).toBe(true);
  });
});
