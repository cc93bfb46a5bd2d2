/** The walkthrough of sample-app/README.md with both real programs, over a real Redis and over a shared directory. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { RedisServer } from '../support/redis-server.js';
import { loadScript } from '../tooling/load-script.js';
import { Program, PYTHON_PEER, pythonInterpreter, stopAll } from './program.js';

const { ensureBuild, NODE_PEER_MAIN } = await loadScript<{
  ensureBuild: () => Promise<void>;
  NODE_PEER_MAIN: string;
}>('ensure-build');

const BUILD_LIMIT_MS = 200_000;
const TEST_LIMIT_MS = 90_000;

/** A place where nodes meet, and what stands in it. */
interface Place {
  readonly env: Record<string, string>;
  /** The services of all records, and of whatever else names a node. */
  services(): Promise<string[]>;
  close(): Promise<void>;
}

async function redisPlace(): Promise<Place> {
  const server = await RedisServer.start();
  const redis = new Redis(server.url);
  return {
    env: { REDIS_URL: server.url },
    services: async () => {
      const records = await redis.keys('mesh:service:*');
      const indexed = await Promise.all(
        (await redis.keys('mesh:index:*')).map(async (key) => ((await redis.zcard(key)) > 0 ? key : '')),
      );
      return [...records, ...indexed].filter((key) => key !== '').map((key) => key.split(':')[2] ?? key);
    },
    close: async () => {
      redis.disconnect();
      await server.stop();
    },
  };
}

async function filePlace(): Promise<Place> {
  const dir = mkdtempSync(join(tmpdir(), 'mesh-walkthrough-'));
  return {
    env: { MESH_REGISTRY: `file:${dir}` },
    services: async () =>
      readdirSync(dir).flatMap((service) => readdirSync(join(dir, service)).map(() => service)),
    close: async () => rmSync(dir, { recursive: true, force: true }),
  };
}

function startPython({ env }: Place): Program {
  return Program.start([pythonInterpreter(), 'mesh_peer.py'], {
    cwd: PYTHON_PEER,
    env: { ...env, MESH_INTERVAL: '0.02' },
  });
}

function startNode({ env }: Place): Program {
  return Program.start([process.execPath, NODE_PEER_MAIN], {
    env: { ...env, HTTP_PORT: '0', MESH_INTERVAL_MS: '20' },
  });
}

/** Where the sample says that it serves HTTP. */
async function urlOf(node: Program): Promise<string> {
  const line = await node.line(/^Registered as 'node-peer'\. Try http:\/\/\S+\/sum/);
  return /http:\/\/[^/]+/.exec(line)?.[0] ?? line;
}

/** The numbers of the messages of one kind, in the order in which they were printed. */
function numbers(lines: readonly string[], kind: string): number[] {
  return lines.filter((line) => line.startsWith(`${kind} #`)).map((line) => Number(line.split('#')[1]));
}

const counting = (values: readonly number[]): number[] => values.map((_, n) => n);

describe.each([
  ['Redis', redisPlace],
  ['a shared directory', filePlace],
])('the walkthrough over %s', (_name, openPlace) => {
  let place: Place;

  beforeAll(async () => {
    await ensureBuild();
  }, BUILD_LIMIT_MS);

  beforeAll(async () => {
    place = await openPlace();
  });

  afterEach(stopAll);
  afterAll(() => place.close());

  it(
    'lets both peers find each other, talk in parallel, call each other and leave without a trace',
    async () => {
      const python = startPython(place);
      await python.line(/^Registered as 'python-peer' on port \d+\. Waiting for Node\.$/);
      await expect(place.services()).resolves.toContain('python-peer');
      expect(python.lines).not.toContain('Accepted connection from Node.');

      const node = startNode(place);
      const url = await urlOf(node);
      await Promise.all([
        node.line('Received: Message from Python #20'),
        python.line('Received: Message from Node #20'),
      ]);
      expect(new Set(await place.services())).toEqual(new Set(['node-peer', 'python-peer']));

      // Each side's own greeting of the other, both ways.
      await python.line(/^Node answered: "Hello Python/);
      await node.line('Event python.greeted: {"name":"Python"}');
      await python.line('Event node.greeted: {"name": "Node"}');

      const sum = await fetch(`${url}/sum?a=2&b=40`);
      expect([sum.status, await sum.json()]).toEqual([200, { sum: 42 }]);
      const health = await fetch(`${url}/health`);
      expect([health.status, await health.json()]).toEqual([
        200,
        { status: 'ok', registry: 'connected', python: 'connected' },
      ]);

      await expect(node.stop('SIGTERM')).resolves.toEqual({ code: 0, signal: null });
      await expect(python.stop('SIGTERM')).resolves.toEqual({ code: 0, signal: null });
      await expect(place.services()).resolves.toEqual([]);

      const conversations = [
        { lines: node.lines, begin: "Connected to 'python-peer'!", own: 'Node', other: 'Python' },
        { lines: python.lines, begin: 'Accepted connection from Node.', own: 'Python', other: 'Node' },
      ];
      for (const { lines, begin, own, other } of conversations) {
        const sent = numbers(lines, `Sent: Message from ${own}`);
        const received = numbers(lines, `Received: Message from ${other}`);
        expect(sent).toEqual(counting(sent));
        expect(received).toEqual(counting(received));
        const talk = lines.filter((line) => line === begin || /^(Sent|Received): /.test(line));
        expect(talk[0]).toBe(begin);
        // In parallel: neither side waits until the other one has finished.
        const turns = talk.slice(2).filter((line, at) => line.charAt(0) !== talk[at + 1]?.charAt(0));
        expect(turns.length).toBeGreaterThan(5);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'lets Node wait for a peer that is not there yet, and connect again after the peer was killed',
    async () => {
      const node = startNode(place);
      const url = await urlOf(node);
      const away = await fetch(`${url}/sum?a=2&b=40`);
      expect([away.status, await away.json()]).toEqual([
        503,
        expect.objectContaining({
          message: expect.stringContaining("no node of service 'python-peer' is listed"),
        }),
      ]);
      const health = await fetch(`${url}/health`);
      expect([health.status, await health.json()]).toEqual([
        200,
        expect.objectContaining({ python: 'awaited' }),
      ]);

      const first = startPython(place);
      await node.line('Received: Message from Python #3');
      await first.stop('SIGKILL');
      await node.line(/^Waiting for 'python-peer': \[UNAVAILABLE\] /);

      const before = node.lines.length;
      const second = startPython(place);
      await second.line('Received: Message from Node #3');
      await node.line("Connected to 'python-peer'!", { from: before });
      const sum = await fetch(`${url}/sum?a=2&b=40`);
      expect([sum.status, await sum.json()]).toEqual([200, { sum: 42 }]);

      await expect(second.stop('SIGINT')).resolves.toEqual({ code: 0, signal: null });
      await node.line("Waiting for 'python-peer': it has left the conversation");
      await expect(node.stop('SIGINT')).resolves.toEqual({ code: 0, signal: null });
    },
    TEST_LIMIT_MS,
  );

  it(
    'answers bad numbers with 400, naming the one that is wrong',
    async () => {
      const node = startNode(place);
      const url = await urlOf(node);
      for (const [query, message] of [
        ['a=two&b=40', 'a must be a number, not "two"'],
        ['a=2&b=', 'b must be a number, not ""'],
        ['a=2', 'b must be a number, not left out'],
        ['a=2&b=1e999', 'b must be a number, not "1e999"'],
        ['a=1&a=2&b=3', 'a must be a number, not ["1","2"]'],
      ]) {
        const answer = await fetch(`${url}/sum?${query}`);
        expect([answer.status, await answer.json()]).toEqual([400, expect.objectContaining({ message })]);
      }
      await expect(node.stop()).resolves.toEqual({ code: 0, signal: null });
    },
    TEST_LIMIT_MS,
  );
});

describe('the Nest sample', () => {
  beforeAll(async () => {
    await ensureBuild();
  }, BUILD_LIMIT_MS);
  afterEach(stopAll);

  it.each([
    ['MESH_PORT', '70000', 'MESH_PORT must be a whole number from 0 to 65535, not "70000"'],
    ['MESH_INTERVAL_MS', '-1', 'MESH_INTERVAL_MS must be a whole number from 0 to 2147483647, not "-1"'],
    [
      'MESH_ADVERTISE',
      'a b',
      'advertise.host must be an IP address or a host name without a port, not "a b"',
    ],
    ['REDIS_URL', 'redis://127.0.0.1:1', 'cannot reach the registry redis://127.0.0.1:1'],
  ])(
    'ends with exit code 1 and the reason when it cannot start: %s=%s',
    async (variable, value, reason) => {
      const node = Program.start([process.execPath, NODE_PEER_MAIN], {
        env: { HTTP_PORT: '0', [variable]: value },
      });
      await expect(node.ended).resolves.toEqual({ code: 1, signal: null });
      expect(node.lines.join('\n')).toContain('Cannot start: ');
      expect(node.lines.join('\n')).toContain(reason);
    },
    TEST_LIMIT_MS,
  );
});
