/** Connections do not stand for ever: another one takes the place of an old one, and no call is lost by it. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { eventually } from '../support/eventually.js';
import { callOf, Mesh } from '../support/mesh-fixture.js';

const WORK = { service: 'work' };

const mesh = new Mesh();
afterEach(() => mesh.close());

/** Counts the connections that a node accepts. */
function countSessions(node: MeshNode): () => number {
  let count = 0;
  node.httpServer?.on('session', () => (count += 1));
  return () => count;
}

describe('a connection that has become old', () => {
  it('is followed by another, while calls go on', async () => {
    const node = await mesh.serve('work', { calls: { echo: (data) => data } });
    const caller = mesh.node({ sessionMaxAgeMs: 50 });
    const sessions = countSessions(node);
    let calls = 0;
    await eventually('several connections were opened', async () => {
      expect(await callOf(caller, WORK, 'echo', calls)).toBe(calls);
      calls += 1;
      return sessions() >= 3;
    });
  });

  it('ends only with the call that is open on it', async () => {
    let answer: (() => void) | undefined;
    const slow = (_data: never, call: { respond(value: unknown): void }): void => {
      answer = () => call.respond('late');
    };
    await mesh.serve('work', { calls: { slow, echo: (data) => data } });
    const caller = mesh.node({ sessionMaxAgeMs: 40 });
    const late = callOf(caller, WORK, 'slow');
    await eventually('the call has come', () => answer !== undefined);
    // Several lives of a connection: what is open on the first keeps it, whatever follows.
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(await callOf(caller, WORK, 'echo', 1)).toBe(1);
    answer?.();
    await expect(late).resolves.toBe('late');
  });

  it('stays when it may have any age', async () => {
    const node = await mesh.serve('work', { calls: { echo: (data) => data } });
    const caller = mesh.node({ sessionMaxAgeMs: 0 });
    const sessions = countSessions(node);
    await callOf(caller, WORK, 'echo', 1);
    // Longer than the connections of the other tests stand.
    await new Promise((resolve) => setTimeout(resolve, 120));
    await callOf(caller, WORK, 'echo', 2);
    expect(sessions()).toBe(1);
  });
});
