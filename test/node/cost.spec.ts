/** What calls and events may not cost, counted: timers, promises and writes that grow with their number. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { createHook } from 'node:async_hooks';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import type { OutboundEvent } from '../../lib/node/outbound-events.js';
import { eventually } from '../support/eventually.js';
import { handlersOf, Mesh } from '../support/mesh-fixture.js';

const mesh = new Mesh();
afterEach(() => mesh.close());

const ECHO = { service: 'echo' };
const MANY = 200;

const EVENT: OutboundEvent = { pattern: 'e', route: 'e', data: 1, metadata: undefined, timeoutMs: 2_000 };

/** A caller with a channel to a node that answers with what it is given. */
async function connected(): Promise<{ caller: MeshNode; taken: () => number }> {
  let taken = 0;
  const server = mesh.node({ service: 'echo' });
  server.setHandlers({
    ...handlersOf({ event: () => void (taken += 1) }),
    onRequest: (call) => call.respond(call.data),
  });
  await server.listen();
  await server.announce();
  const caller = mesh.node();
  await caller.emit(ECHO, { ...EVENT, ack: 'received' });
  taken = 0;
  return { caller, taken: () => taken };
}

/** Makes calls in one turn; resolves when all are answered. */
function callMany(caller: MeshNode, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = count;
    const request = { pattern: 'e', route: 'e', data: 1, metadata: undefined, timeoutMs: 5_000 };
    const observer = {
      onPacket: () => {
        open -= 1;
        if (open === 0) resolve();
      },
      onFailure: reject,
    };
    for (let at = 0; at < count; at += 1) caller.request(ECHO, request, observer);
  });
}

/** How many resources of each kind are made while `step` runs. */
async function made(step: () => Promise<void>): Promise<ReadonlyMap<string, number>> {
  const kinds = new Map<string, number>();
  const hook = createHook({
    init: (_, kind) => {
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    },
  }).enable();
  try {
    await step();
  } finally {
    hook.disable();
  }
  return kinds;
}

describe('However many they are', () => {
  it('calls of one turn take no timer, no promise and no write each', async () => {
    const { caller } = await connected();
    await callMany(caller, MANY);
    const kinds = await made(() => callMany(caller, MANY));
    // Some belong to the registry's heartbeat and to the test itself.
    for (const [kind, count] of kinds) expect({ kind, few: count < MANY / 2 }).toEqual({ kind, few: true });
  });

  it('events of one turn take no promise each', async () => {
    const { caller, taken } = await connected();
    const kinds = await made(async () => {
      for (let at = 0; at < MANY; at += 1) void caller.emit(ECHO, EVENT);
    });
    for (const [kind, count] of kinds) expect({ kind, few: count < 20 }).toEqual({ kind, few: true });
    await eventually('all have come', () => taken() === MANY);
  });
});
