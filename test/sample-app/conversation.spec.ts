/** `npm run demo` believes only what the peers print: a message that is missing, doubled or out of order is told. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { loadScript } from '../tooling/load-script.js';

type Side = 'node' | 'python';

interface Conversation {
  readonly begun: boolean;
  isComplete(count: number): boolean;
  take(who: Side, line: string): boolean;
  faultsFor(count: number): string[];
  summary(): string;
}

const { Conversation } = await loadScript<{ Conversation: new (clock?: () => number) => Conversation }>(
  'conversation',
);

const COUNT = 4;

/** All that a side prints, in an order in which it may print it. */
function linesOf(who: Side): string[] {
  const [own, other] = who === 'node' ? ['Node', 'Python'] : ['Python', 'Node'];
  const begin = who === 'node' ? "Connected to 'python-peer'!" : 'Accepted connection from Node.';
  const talk = Array.from({ length: COUNT }, (_, n) => [
    `Sent: Message from ${own} #${n}`,
    `Received: Message from ${other} #${n}`,
  ]);
  return [begin, ...talk.flat()];
}

/** The lines of both sides, interleaved by the given coins, with both orders kept. */
function interleave(coins: readonly boolean[], node: string[], python: string[]): [Side, string][] {
  const rest = { node: [...node], python: [...python] };
  const merged: [Side, string][] = [];
  for (let at = 0; rest.node.length + rest.python.length > 0; at += 1) {
    const wanted = coins[at % coins.length] === true ? 'node' : 'python';
    const who = rest[wanted].length > 0 ? wanted : wanted === 'node' ? 'python' : 'node';
    merged.push([who, rest[who].shift() ?? '']);
  }
  return merged;
}

function heard(lines: readonly [Side, string][]): Conversation {
  const conversation = new Conversation();
  for (const [who, line] of lines) conversation.take(who, line);
  return conversation;
}

const coins = fc.array(fc.boolean(), { minLength: 1, maxLength: 20 });

describe('the conversation of the demo', () => {
  it('is whole exactly when every message was sent and received once, however the two logs interleave', () => {
    fc.assert(
      fc.property(coins, (order) => {
        const conversation = heard(interleave(order, linesOf('node'), linesOf('python')));
        expect(conversation.isComplete(COUNT)).toBe(true);
        expect(conversation.faultsFor(COUNT)).toEqual([]);
      }),
    );
  });

  it('is not whole when a line is missing, doubled, or exchanged with the next of its kind', () => {
    const places = fc.record({
      who: fc.constantFrom<Side>('node', 'python'),
      at: fc.integer({ min: 1, max: 2 * COUNT - 2 }),
      change: fc.constantFrom('missing', 'doubled', 'exchanged'),
    });
    fc.assert(
      fc.property(coins, places, (order, { who, at, change }) => {
        const lines = linesOf(who);
        const [line = '', other = ''] = [lines[at], lines[at + 2]];
        if (change === 'missing') lines.splice(at, 1);
        else if (change === 'doubled') lines.splice(at, 0, line);
        else [lines[at], lines[at + 2]] = [other, line];
        const both = { node: linesOf('node'), python: linesOf('python'), [who]: lines };
        expect(heard(interleave(order, both.node, both.python)).faultsFor(COUNT)).not.toEqual([]);
      }),
    );
  });

  it('does not count messages before the connection, nor lines that only look like messages', () => {
    const early = heard([['node', 'Sent: Message from Node #0']]);
    expect(early.faultsFor(1)[0]).toBe(
      'node printed "Sent: Message from Node #0" before "Connected to \'python-peer\'!"',
    );
    const conversation = new Conversation();
    for (const line of [
      'Sent: Message from Node #0 ',
      'Sent: Message from Node',
      'Accepted connection from Node.',
    ]) {
      expect(conversation.take('node', line)).toBe(false);
    }
    expect(conversation.begun).toBe(false);
  });

  it('names the line when a side claims what only the other can send', () => {
    const conversation = heard([
      ['python', 'Accepted connection from Node.'],
      ['python', 'Sent: Message from Node #0'],
    ]);
    expect(conversation.faultsFor(0)[0]).toBe(
      'python printed "Sent: Message from Node #0", the other one\'s line',
    );
  });

  it('sums up what went each way, and how fast', () => {
    let now = 0;
    const conversation = new Conversation(() => (now += 125));
    for (const [who, line] of interleave([true, false], linesOf('node'), linesOf('python'))) {
      conversation.take(who, line);
    }
    // The clock is read twice for the connections and once for each of the eight messages received.
    expect(conversation.summary()).toBe(
      [
        'Node to Python: 4 sent, 4 received',
        'Python to Node: 4 sent, 4 received',
        '8 messages in 1.00 s, 8 per second',
      ].join('\n'),
    );
  });
});
