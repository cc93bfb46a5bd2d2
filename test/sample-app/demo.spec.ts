/** `npm run demo`, run as a user runs it. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, RedisServer } from '../support/redis-server.js';
import { loadScript } from '../tooling/load-script.js';
import { Program, ROOT, stopAll } from './program.js';

const { ensureBuild } = await loadScript<{ ensureBuild: () => Promise<void> }>('ensure-build');

const BUILD_LIMIT_MS = 200_000;
const TEST_LIMIT_MS = 90_000;
const SUMMARY = [
  'Node to Python: 20 sent, 20 received',
  'Python to Node: 20 sent, 20 received',
  expect.stringMatching(/^40 messages in \d+\.\d\d s, \d+ per second$/),
];

/** Where the demo makes its temporary directory. */
const scratch = mkdtempSync(join(tmpdir(), 'mesh-demo-spec-'));

function runDemo(args: readonly string[], env: Record<string, string> = {}): Program {
  return Program.start(['npm', 'run', '--silent', 'demo', '--', ...args], {
    env: { TMPDIR: scratch, ...env },
  });
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

describe('npm run demo', () => {
  beforeAll(async () => {
    await ensureBuild();
  }, BUILD_LIMIT_MS);
  afterEach(async () => {
    await stopAll();
    expect(readdirSync(scratch).filter((name) => name.startsWith('mesh-demo-'))).toEqual([]);
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it(
    'ends by itself after --messages 20, with a summary and exit code 0, without any server',
    async () => {
      const demo = runDemo(['--messages', '20']);
      await expect(demo.ended).resolves.toEqual({ code: 0, signal: null });
      expect(demo.lines[0]).toContain('Both peers meet in file:');
      expect(demo.lines.slice(-3)).toEqual(SUMMARY);
      for (const line of [
        "node   | Connected to 'python-peer'!",
        'node   | Sent: Message from Node #19',
        'node   | Received: Message from Python #19',
        'python | Accepted connection from Node.',
        'python | Sent: Message from Python #19',
        'python | Received: Message from Node #19',
      ]) {
        expect(demo.lines).toContain(line);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'meets in the Redis of REDIS_URL, and does not show its password',
    async () => {
      const redis = await RedisServer.start({ password: 'secret' });
      try {
        // Settings of the user for one peer cannot hold for both.
        const demo = runDemo(['--messages', '20', '--interval', '0'], {
          REDIS_URL: redis.url,
          MESH_PORT: '1',
        });
        await expect(demo.ended).resolves.toEqual({ code: 0, signal: null });
        expect(demo.lines.slice(-3)).toEqual(SUMMARY);
        expect(demo.lines.join('\n')).toContain(`redis://***@127.0.0.1:${redis.port}`);
        expect(demo.lines.join('\n')).not.toContain('secret');
      } finally {
        await redis.stop();
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'fails with exit code 1 and the reason when a peer cannot start',
    async () => {
      const address = `127.0.0.1:${await freePort()}`;
      const demo = runDemo(['--messages', '20'], { REDIS_URL: `redis://${address}` });
      await expect(demo.ended).resolves.toEqual({ code: 1, signal: null });
      const output = demo.lines.join('\n');
      expect(output).toMatch(/^failed: (node|python) ended: exit code 1, after\n {2}Cannot start: /m);
      expect(output.slice(output.indexOf('failed: '))).toContain(address);
    },
    TEST_LIMIT_MS,
  );

  it.each([
    [['--messages', 'many'], '--messages must be a whole number from 1, not "many"'],
    [['--messages', '0'], '--messages must be a whole number from 1, not "0"'],
    [['--interval', '-5'], "'--interval' argument is ambiguous"],
    [['--turbo'], "Unknown option '--turbo'"],
  ])('refuses %j, saying what is wrong and how it is used', async (args, fault) => {
    const demo = runDemo(args);
    await expect(demo.ended).resolves.toEqual({ code: 1, signal: null });
    expect(demo.lines.join('\n')).toContain(fault);
    expect(demo.lines.join('\n')).toContain('npm run demo [-- OPTIONS]');
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'goes on until %s, then takes both peers and its directory along',
    async (signal) => {
      // npm itself hands signals on in its own ways: this is about the program that it runs.
      const demo = Program.start([process.execPath, 'scripts/demo.mjs', '--interval', '20'], {
        cwd: ROOT,
        env: { TMPDIR: scratch },
      });
      const registered = await demo.line(/^python \| Registered as/);
      const serving = await demo.line(/^node {3}\| Registered as/);
      await demo.line('node   | Received: Message from Python #5');
      await expect(demo.stop(signal)).resolves.toEqual({ code: 0, signal: null });
      expect(demo.lines.slice(-3)[0]).toMatch(/^Node to Python: \d+ sent, \d+ received$/);
      const ports = [/on port (\d+)/.exec(registered)?.[1], /:(\d+)\//.exec(serving)?.[1]].map(Number);
      expect(ports.every((port) => port > 0)).toBe(true);
      await expect(Promise.all(ports.map(listens))).resolves.toEqual([false, false]);
    },
    TEST_LIMIT_MS,
  );

  it(
    'fails when it is interrupted before all messages have gone',
    async () => {
      const demo = Program.start([process.execPath, 'scripts/demo.mjs', '--messages', '1000'], {
        cwd: ROOT,
        env: { TMPDIR: scratch },
      });
      await demo.line('node   | Received: Message from Python #2');
      await expect(demo.stop('SIGINT')).resolves.toEqual({ code: 1, signal: null });
      expect(demo.lines).toContain('failed: it was interrupted');
    },
    TEST_LIMIT_MS,
  );
});
