/** docker-compose.yml says nothing that the Dockerfiles, the programs and its own other parts do not hold. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { freePort, redisBinary } from '../support/redis-server.js';
import { loadScript } from '../tooling/load-script.js';
import { readDockerfile, reachesBuild, type Stage } from './dockerfile.js';
import { Program, PYTHON_PEER, pythonInterpreter, ROOT, stopAll } from './program.js';

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile?: string };
  readonly command?: string[];
  readonly environment?: Record<string, string>;
  readonly ports?: string[];
  readonly depends_on?: Record<string, { readonly condition: string }>;
  readonly healthcheck: { readonly test: [string, ...string[]] };
  readonly stop_grace_period: string;
  readonly restart: string;
}

const { services } = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')) as {
  services: Record<'redis' | 'python-peer' | 'node-peer', Service>;
};
const names = Object.keys(services) as (keyof typeof services)[];
const built = names.filter((name) => services[name].build !== undefined);

/** Where the sources of the peers read their variables. */
const READERS = {
  'python-peer': {
    file: 'sample-app/python-peer/mesh_peer.py',
    reads: (name: string) => `env.get("${name}")`,
  },
  'node-peer': { file: 'sample-app/node-peer/src/settings.ts', reads: (name: string) => `'${name}'` },
};
/** A redis-server needs a moment; a peer may take ten seconds for open calls, see drainTimeoutMs. */
const DRAIN_SECONDS = { redis: 1, 'python-peer': 5, 'node-peer': 10 };

function contextOf(name: keyof typeof services): string {
  return join(ROOT, services[name].build?.context ?? '');
}

function stagesOf(name: keyof typeof services): Stage[] {
  const { dockerfile = 'Dockerfile' } = services[name].build ?? {};
  return readDockerfile(join(contextOf(name), dockerfile));
}

function finalStage(name: keyof typeof services): Stage {
  const stage = stagesOf(name).at(-1);
  if (stage === undefined) throw new Error(`the Dockerfile of ${name} has no FROM`);
  return stage;
}

/** `'127.0.0.1:${HTTP_PORT:-3000}:3000'` as its three parts. */
function publishedPorts(name: keyof typeof services) {
  return (services[name].ports ?? []).map((port) => {
    const [, address, outside, inside] = /^([\d.]+):\$\{\w+:-(\d+)\}:(\d+)$/.exec(port) ?? [];
    return { address, outside: Number(outside), inside: Number(inside) };
  });
}

describe('docker-compose.yml', () => {
  it('has the three services of the walkthrough', () => {
    expect(names).toEqual(['redis', 'python-peer', 'node-peer']);
  });

  it('pins the major version of every image, in the Dockerfiles too', () => {
    const images = built.flatMap((name) => stagesOf(name).map(({ image }) => image));
    expect([services.redis.image, ...new Set(images)]).toEqual([
      'redis:7',
      'python:3.12-slim',
      'node:22-bookworm-slim',
    ]);
  });

  it('starts each service when those before it are healthy, and stops none before its calls can have ended', () => {
    expect(services.redis.depends_on).toBeUndefined();
    for (const [at, name] of names.entries()) {
      const before = names.slice(0, at);
      const healthy = Object.fromEntries(before.map((other) => [other, { condition: 'service_healthy' }]));
      expect([name, services[name].depends_on ?? {}]).toEqual([name, healthy]);
      expect(parseInt(services[name].stop_grace_period, 10)).toBeGreaterThan(DRAIN_SECONDS[name]);
      expect(services[name].restart).toBe('unless-stopped');
    }
  });

  it.each(built)('builds %s from files that are there and that .dockerignore lets through', (name) => {
    const stages = stagesOf(name);
    expect(stages.length).toBeGreaterThan(1);
    for (const { copies } of stages) {
      for (const { from, sources } of copies) {
        if (from !== undefined) expect(stages.map((stage) => stage.name)).toContain(from);
        else
          for (const source of sources)
            expect([source, reachesBuild(contextOf(name), source)]).toEqual([source, true]);
      }
    }
  });

  it.each(built)('keeps what is installed or built on this machine out of the image of %s', (name) => {
    const own = [
      'node_modules',
      'dist',
      'sample-app/node-peer/dist',
      '.venv',
      '.git',
      'nestjs_mesh/__pycache__',
      'tests',
    ];
    const there = own.filter((path) => existsSync(join(contextOf(name), path)));
    expect(there.filter((path) => reachesBuild(contextOf(name), path))).toEqual([]);
  });

  it.each(built)('runs %s as another user than root', (name) => {
    const { user, runs } = finalStage(name);
    const isMade = runs.some((run) => new RegExp(`^useradd .*\\b${user}$`).test(run));
    // The images of Node bring the user `node`.
    expect(user === 'node' || isMade).toBe(true);
  });

  it.each(['python-peer', 'node-peer'] as const)(
    'sets for %s only variables that its program reads',
    (name) => {
      const { file, reads } = READERS[name];
      const source = readFileSync(join(ROOT, file), 'utf8');
      for (const variable of Object.keys(services[name].environment ?? {})) {
        expect([variable, source.includes(reads(variable))]).toEqual([variable, true]);
      }
    },
  );

  it.each(['python-peer', 'node-peer'] as const)(
    'lets other containers reach %s where it says that it is',
    (name) => {
      const { environment = {} } = services[name];
      expect(environment['MESH_ADVERTISE']).toBe(name);
      expect(environment['MESH_HOST']).toBe('0.0.0.0');
      expect(new URL(environment['REDIS_URL'] ?? '').hostname).toBe('redis');
      expect(finalStage(name).ports).toContain(Number(environment['MESH_PORT']));
    },
  );

  it('publishes on this machine alone, and only ports that something listens on', () => {
    const { environment = {} } = services['node-peer'];
    expect(publishedPorts('redis')).toEqual([{ address: '127.0.0.1', outside: 6379, inside: 6379 }]);
    expect(publishedPorts('node-peer')).toEqual([
      { address: '127.0.0.1', outside: 3000, inside: Number(environment['HTTP_PORT']) },
    ]);
    expect(environment['HTTP_HOST']).toBe('0.0.0.0');
    expect(finalStage('node-peer').ports).toContain(Number(environment['HTTP_PORT']));
    expect(publishedPorts('python-peer')).toEqual([]);
  });

  it('has commands that are lists of words', () => {
    for (const name of names) {
      const words = [...services[name].healthcheck.test, ...(services[name].command ?? [])];
      expect(words.filter((word) => typeof word !== 'string')).toEqual([]);
    }
  });

  it('names Redis by the default of the programs, so that Redis alone serves peers outside', () => {
    for (const { file } of Object.values(READERS)) {
      expect(readFileSync(join(ROOT, file), 'utf8')).toContain('redis://localhost:6379');
    }
  });
});

describe('what docker-compose.yml runs', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mesh-compose-'));
  const folders = { redis: dir, 'python-peer': PYTHON_PEER, 'node-peer': ROOT };

  beforeAll(async () => {
    const { ensureBuild } = await loadScript<{ ensureBuild: () => Promise<void> }>('ensure-build');
    await ensureBuild();
  }, 200_000);
  afterEach(stopAll);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('has the compiled program where the Dockerfile starts it', () => {
    for (const name of built) {
      const [, program = ''] = finalStage(name).command;
      expect([program, existsSync(join(folders[name], program))]).toEqual([program, true]);
      // It is in the image, too.
      const targets = finalStage(name).copies.flatMap(({ sources, target }) =>
        target === './' ? sources : [target],
      );
      expect(targets.some((target) => program === target || program.startsWith(`${target}/`))).toBe(true);
    }
  });

  it('comes up in the order of health, each health check telling before from after', async () => {
    const [redisPort, pythonPort, nodePort, httpPort] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    // Here all are on one machine, without the names of the network that compose makes.
    const here: Record<string, string> = {
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      MESH_ADVERTISE: '127.0.0.1',
    };
    const env = {
      redis: {},
      'python-peer': { ...services['python-peer'].environment, ...here, MESH_PORT: String(pythonPort) },
      'node-peer': {
        ...services['node-peer'].environment,
        ...here,
        MESH_PORT: String(nodePort),
        HTTP_PORT: String(httpPort),
      },
    };
    const programs: Record<string, [string, ...string[]]> = {
      python: [pythonInterpreter()],
      node: [process.execPath],
      'redis-server': [redisBinary(), '--port', String(redisPort), '--bind', '127.0.0.1', '--dir', dir],
      'redis-cli': [join(dirname(redisBinary()), 'redis-cli'), '-p', String(redisPort)],
    };
    const run = (name: keyof typeof services, [program = '', ...args]: readonly string[]): Program => {
      const command = programs[program];
      if (command === undefined) throw new Error(`${name} runs ${program}, which this test does not know`);
      return Program.start([...command, ...args], { cwd: folders[name], env: env[name] });
    };
    const isHealthy = async (name: keyof typeof services): Promise<boolean> => {
      const [kind, ...check] = services[name].healthcheck.test;
      expect(kind).toBe('CMD');
      return (await run(name, check).ended).code === 0;
    };
    const started = [];
    for (const name of names) {
      expect([name, await isHealthy(name)]).toEqual([name, false]);
      const program = run(name, services[name].command ?? finalStage(name).command);
      started.push(program);
      const deadline = Date.now() + 30_000;
      while (!(await isHealthy(name))) {
        if (Date.now() > deadline) throw new Error(`${name} is not healthy:\n${program.lines.join('\n')}`);
      }
    }
    const [redis, python, node] = started;
    await node?.line('Received: Message from Python #0');
    await python?.line('Received: Message from Node #0');
    const sum = await fetch(`http://127.0.0.1:${httpPort}/sum?a=2&b=40`);
    expect([sum.status, await sum.json()]).toEqual([200, { sum: 42 }]);
    for (const program of [node, python, redis]) {
      await expect(program?.stop('SIGTERM')).resolves.toEqual({ code: 0, signal: null });
    }
  }, 90_000);
});
