/** Two nodes that send each other more than their sockets hold at the same time: both go on reading. */
import { afterEach, describe, expect, it } from '@jest/globals';
import type { MeshChannel } from '../../lib/nest/mesh.channel.js';
import type { MeshNode } from '../../lib/node/mesh-node.js';
import { TestMesh } from '../../lib/testing/test-mesh.js';
import { STREAM_WINDOW_BYTES } from '../../lib/transport/http2-settings.js';
import { eventually, pause } from '../support/eventually.js';
import { callOf, Mesh } from '../support/mesh-fixture.js';

const MATH = { service: 'math' };
const MEGABYTE = 'x'.repeat(1024 * 1024);
const COUNT = 32;

const sockets = new Mesh();
let memory: TestMesh | undefined;
afterEach(async () => {
  await sockets.close();
  await memory?.close();
});

async function echoes(caller: MeshNode): Promise<number> {
  const calls = Array.from({ length: COUNT }, () =>
    callOf(caller, MATH, 'echo', MEGABYTE, { timeoutMs: 20_000 }),
  );
  const answers = await Promise.all(calls);
  return answers.filter((answer) => answer === MEGABYTE).length;
}

describe('Calls and answers of a megabyte at the same time', () => {
  it('all arrive over TCP', async () => {
    await sockets.serve('math', { calls: { echo: (data: unknown) => data } });
    expect(await echoes(sockets.node())).toBe(COUNT);
  });

  // Where the sockets hold least, as on a network whose buffers have not grown yet.
  it('all arrive over connections with small buffers', async () => {
    memory = new TestMesh();
    await memory.service('math', { echo: (data: unknown) => data });
    expect(await echoes(memory.node({ service: 'caller' }))).toBe(COUNT);
  });
});

describe('A channel that nobody reads', () => {
  it('does not take the window of the connection from calls', async () => {
    memory = new TestMesh();
    const filling = 'x'.repeat(64 * 1024);
    let sent = 0;
    await memory.service(
      'math',
      { echo: (data: unknown) => data },
      {
        channels: {
          flood: async (channel: MeshChannel<string, string>) => {
            try {
              for (;;) {
                await channel.send(filling);
                sent += 1;
              }
            } catch {
              // The reader has left.
            }
          },
        },
      },
    );
    const client = memory.client().to('math');
    const channel = await client.channel('flood');
    await eventually('it has filled its own window', async () => {
      const before = sent;
      await pause(100); // It goes on as long as there is room.
      return before * filling.length > STREAM_WINDOW_BYTES / 2 && sent === before;
    });
    expect(await client.call('echo', MEGABYTE)).toBe(MEGABYTE);
    channel.close();
  });
});
