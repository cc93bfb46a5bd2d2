/** Nodes that open no port: peers reach them by name, over the channels that they have opened themselves. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { MeshOptions } from '../../lib/node/mesh-options.js';
import type { RawChannel } from '../../lib/transport/raw-channel.js';
import { roundRobin } from '../../lib/routing/round-robin.js';
import { eventually, pause, within } from '../support/eventually.js';
import { callOf, failureOf, Mesh, type Answers } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** A worker without a port that connects to the gateways. */
function worker(answers: Answers, options: Partial<MeshOptions> = {}): Promise<MeshNode> {
  return mesh.serve('work', answers, { listen: false, connectTo: ['gateway'], ...options });
}

function named(name: string): Answers {
  return { calls: { who: () => name } };
}

async function echo(channel: RawChannel): Promise<void> {
  for await (const value of channel) await channel.send(value);
  channel.end();
}

/** The gateway sees that many nodes of the service as connected. */
function connected(gateway: MeshNode, count: number): Promise<unknown> {
  return eventually(
    `${count} workers are connected`,
    () =>
      gateway.status.peers.filter(({ service, state }) => service === 'work' && state === 'connected')
        .length === count,
  );
}

async function whoAnswers(gateway: MeshNode, times: number): Promise<string[]> {
  const answers: string[] = [];
  for (let n = 0; n < times; n += 1) answers.push(String(await callOf(gateway, WORK, 'who')));
  return answers.sort();
}

describe('a node without a port', () => {
  it('is called by its name, and neither listens nor stands in the registry', async () => {
    const gateway = await mesh.serve('gateway');
    const node = await worker({ calls: { double: (n: number) => 2 * n } });
    expect(await callOf(gateway, WORK, 'double', 21)).toBe(42);
    expect(node.httpServer).toBeUndefined();
    expect(node.status).toMatchObject({ listening: false, announced: true });
    expect(() => node.record).toThrow('listen: false');
    expect(await gateway.discover('work')).toEqual([]);
    expect(gateway.status.peers).toEqual([
      expect.objectContaining({ service: 'work', nodeId: node.id, state: 'connected', dialledBy: 'peer' }),
    ]);
  });

  it('is waited for by a call that was made before it came', async () => {
    const gateway = await mesh.serve('gateway');
    const call = callOf(gateway, WORK, 'who');
    await pause(50); // The call has asked the registry by then, and found nobody.
    await worker(named('late'));
    expect(await call).toBe('late');
  });

  it('shares the calls with others of its service, with and without a port', async () => {
    const gateway = await mesh.serve('gateway', {}, { picker: roundRobin });
    await worker(named('first'));
    await worker(named('second'));
    await mesh.serve('work', named('third'));
    await gateway.discover('work');
    await whoAnswers(gateway, 1);
    await connected(gateway, 3);
    expect(await whoAnswers(gateway, 6)).toEqual(['first', 'first', 'second', 'second', 'third', 'third']);
  });

  it('gets the calls that are meant for this node, or for its key', async () => {
    const gateway = await mesh.serve('gateway');
    const first = await worker(named('first'));
    await worker(named('second'));
    await whoAnswers(gateway, 1);
    await connected(gateway, 2);
    for (let n = 0; n < 4; n += 1) {
      expect(await callOf(gateway, { ...WORK, nodeId: first.id }, 'who')).toBe('first');
    }
    const byKey = await Promise.all(
      Array.from({ length: 4 }, () => callOf(gateway, { ...WORK, key: 'k' }, 'who')),
    );
    expect(new Set(byKey).size).toBe(1);
  });

  it('gets events, and its share of a broadcast', async () => {
    const heard: string[] = [];
    const gateway = await mesh.serve('gateway');
    const first = await worker({ event: ({ data }) => heard.push(`first ${String(data)}`) });
    const second = await worker({ event: ({ data }) => heard.push(`second ${String(data)}`) });
    const event = { pattern: 'note', route: 'note', metadata: undefined, timeoutMs: 5_000 };
    await gateway.emit({ ...WORK, nodeId: first.id }, { ...event, data: 1 });
    await connected(gateway, 2);
    const reached = await gateway.broadcast('work', { ...event, data: 2 });
    expect(reached.sort()).toEqual([first.id, second.id].sort());
    await eventually('all have come', () => heard.length === 3);
    expect(heard.sort()).toEqual(['first 1', 'first 2', 'second 2']);
  });

  it('answers calls on streams of their own, and raw channels, in both directions', async () => {
    const gateway = await mesh.serve('gateway');
    const node = await worker({
      calls: {
        numbers: (count: number, call) => {
          for (let n = 1; n <= count; n += 1) call.next(n);
          call.complete();
        },
      },
      channels: { echo: (channel) => void echo(channel) },
    });
    const stream = await gateway.openCall(WORK, {
      route: 'numbers',
      input: { data: 3 },
      metadata: undefined,
      timeoutMs: 5_000,
    });
    const numbers: unknown[] = [];
    for (let next = await stream.next(); next.done !== true; next = await stream.next())
      numbers.push(next.value);
    expect(numbers).toEqual([1, 2, 3]);
    const { channel, opening } = await gateway.openChannel(
      { ...WORK, nodeId: node.id },
      { name: 'echo', metadata: { a: 'b' }, sessionId: 's1', timeoutMs: 5_000 },
    );
    expect(opening).toMatchObject({ sessionId: 's1', peer: { service: 'work', nodeId: node.id } });
    await channel.send('hello');
    expect(await channel.next()).toEqual({ done: false, value: 'hello' });
    expect(gateway.status.peers[0]).toMatchObject({ openChannels: 1 });
    channel.end();
    expect(await channel.next()).toEqual({ done: true, value: undefined });
    await channel.whenClosed;
    const missing = gateway.openChannel(WORK, {
      name: 'none',
      metadata: undefined,
      sessionId: undefined,
      timeoutMs: 5_000,
    });
    expect(await failureOf(missing)).toMatchObject({ code: 'NOT_FOUND', delivery: 'refused' });
  });

  it('is known to every gateway, also to those that come later, without a word from it', async () => {
    const early = await mesh.serve('gateway');
    await worker(named('worker'));
    expect(await callOf(early, WORK, 'who')).toBe('worker');
    const late = await mesh.serve('gateway');
    expect(await callOf(late, WORK, 'who')).toBe('worker');
  });

  it('is unknown before it announces itself, also to those that it has called until then', async () => {
    const gateway = await mesh.serve('gateway', { calls: { ping: () => 'pong' } });
    const node = mesh.node({ service: 'work', listen: false, connectTo: ['gateway'] });
    node.setHandlers({
      onRequest: (call) => call.respond('worker'),
      onEvent: () => undefined,
      hasChannel: () => false,
      onChannel: () => undefined,
    });
    await node.listen();
    expect(await callOf(node, { service: 'gateway' }, 'ping')).toBe('pong');
    const error = await failureOf(callOf(gateway, WORK, 'who', undefined, { timeoutMs: 80 }));
    expect(error.message).toContain('none without a port has connected');
    await node.announce();
    expect(await callOf(gateway, WORK, 'who')).toBe('worker');
  });

  it('answers what was sent to it when it drains, and gets nothing new', async () => {
    const gateway = await mesh.serve('gateway', { calls: { ping: () => 'pong' } });
    let release: () => void = () => undefined;
    const node: MeshNode = await worker({
      calls: {
        hold: () =>
          new Promise<void>((resolve) => (release = resolve)).then(() =>
            callOf(node, { service: 'gateway' }, 'ping'),
          ),
        who: () => 'first',
      },
    });
    const held = callOf(gateway, WORK, 'hold');
    await eventually('the call has arrived', () => node.status.peers[0]?.openCalls === 1);
    await worker(named('second'));
    await connected(gateway, 2);
    const stopped = node.stopServing();
    await eventually('the gateway knows', () =>
      gateway.status.peers.some(({ nodeId, state }) => nodeId === node.id && state === 'draining'),
    );
    expect(await whoAnswers(gateway, 3)).toEqual(['second', 'second', 'second']);
    release();
    // Its handler could still call others.
    expect(await held).toBe('pong');
    await within(stopped, 1_500, 'the drain');
    expect(node.status.announced).toBe(false);
  });

  it('loses no call of a gateway that calls all the time while workers come and go', async () => {
    const gateway = await mesh.serve('gateway');
    let node = await worker(named('worker'));
    let answered = 0;
    const over = new AbortController();
    const call20 = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 20 }, () => callOf(gateway, WORK, 'who')));
      answered += 20;
      if (!over.signal.aborted) await call20();
    };
    const calling = call20();
    for (let round = 0; round < 3; round += 1) {
      const before = answered;
      await eventually('calls go through', () => answered > before);
      const next = await worker(named('worker'));
      await connected(gateway, 2);
      await node.close();
      node = next;
    }
    over.abort();
    await calling;
    expect(answered).toBeGreaterThan(60);
  });

  it('is gone for its callers in the moment in which its connection breaks', async () => {
    const gateway = await mesh.serve('gateway');
    const node = await worker(
      { calls: { hold: () => undefined } },
      { reconnect: { baseMs: 5_000, maxMs: 5_000 } },
    );
    const held = failureOf(callOf(gateway, WORK, 'hold'));
    await eventually('the call has arrived', () => node.status.peers[0]?.openCalls === 1);
    for (const known of node['directories'].nodes) known['connection']['session']?.destroy();
    expect(await within(held, 1_000)).toMatchObject({
      code: 'UNAVAILABLE',
      delivery: 'unknown',
      nodeId: node.id,
    });
    expect(gateway.status.peers).toEqual([]);
  });

  it('comes back by itself after its connection was lost', async () => {
    const gateway = await mesh.serve('gateway');
    const node = await worker(named('worker'));
    await whoAnswers(gateway, 1);
    const lost: string[] = [];
    gateway.on('peerLost', ({ service }) => lost.push(service));
    for (const known of node['directories'].nodes) known['connection']['session']?.destroy();
    await eventually('the gateway has noticed', () => lost.length === 1);
    expect(await callOf(gateway, WORK, 'who')).toBe('worker');
  });

  it('comes back by itself after a gateway has ended its channel alone', async () => {
    const gateway = await mesh.serve('gateway');
    await worker(named('worker'));
    await whoAnswers(gateway, 1);
    const lost: string[] = [];
    gateway.on('peerLost', ({ service }) => lost.push(service));
    for (const channel of gateway['inbound'].channels) channel.close();
    await eventually('the channel is gone', () => lost.length === 1);
    expect(await callOf(gateway, WORK, 'who')).toBe('worker');
  });

  it('warns when it connects to nobody, and can then be called by those that it calls', async () => {
    const gateway = await mesh.serve('gateway', { calls: { ping: () => 'pong' } });
    const node = await worker(named('worker'), { connectTo: [] });
    expect(mesh.warnings).toEqual([expect.stringContaining('connectTo')]);
    await callOf(node, { service: 'gateway' }, 'ping');
    expect(await callOf(gateway, WORK, 'who')).toBe('worker');
  });

  it('never dials itself where it connects to its own service', async () => {
    const node = await mesh.serve('work', named('self'), { connectTo: ['work'] });
    const other = await mesh.serve('work', named('other'));
    await eventually('the other is connected', () =>
      node.status.peers.some(({ nodeId, state }) => nodeId === other.id && state === 'connected'),
    );
    expect(node.status.peers.find(({ nodeId }) => nodeId === node.id)?.state).toBe('idle');
  });
});

describe('a node that is listed but cannot be dialled', () => {
  it('answers calls, and streams of their own, over the channel that it has opened itself', async () => {
    const gateway = await mesh.serve('gateway');
    const hidden = await mesh.serve(
      'work',
      {
        calls: {
          who: () => 'hidden',
          numbers: (count: number, call) => {
            for (let n = 1; n <= count; n += 1) call.next(n);
            call.complete();
          },
        },
      },
      // Nobody listens there, as if a firewall stood between.
      { connectTo: ['gateway'], advertise: { host: '127.0.0.1', port: 1 } },
    );
    await gateway.discover('work');
    await connected(gateway, 1);
    expect(await callOf(gateway, WORK, 'who')).toBe('hidden');
    const numbers = async (): Promise<unknown[]> => {
      const stream = await gateway.openCall(WORK, {
        route: 'numbers',
        input: { data: 2 },
        metadata: undefined,
        timeoutMs: 5_000,
      });
      return [await stream.next(), await stream.next(), await stream.next()].map((next) => next.value);
    };
    expect(await numbers()).toEqual([1, 2, undefined]);
    expect(gateway.status.peers).toEqual([
      expect.objectContaining({ nodeId: hidden.id, state: 'connected', dialledBy: 'peer' }),
    ]);
  });
});

describe('connectTo of a node with a port', () => {
  it('keeps connections that stand before anything is sent', async () => {
    const callee = await mesh.serve('work', named('callee'));
    const caller = mesh.node({ service: 'caller', connectTo: ['work'] });
    await caller.connect();
    await eventually('it is connected', () => caller.status.peers[0]?.state === 'connected');
    expect(callee.status.peers).toHaveLength(1);
  });
});
