/** Starts a real Redis server for a test: on a free port, in a folder of its own, and never left behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { once } from 'node:events';

/** How a server is started; everything may be left out. */
export interface RedisServerOptions {
  /** Makes the default user need this password. */
  readonly password?: string;
  /** Further arguments of redis-server, for example `--cluster-enabled yes`. */
  readonly args?: readonly string[];
  /** The lines of a configuration file, which Sentinel needs since it rewrites it. */
  readonly config?: (port: number) => string;
  /** @default a free one */
  readonly port?: number;
}

const START_TIMEOUT_MS = 10_000;

/** A running redis-server. */
export class RedisServer {
  private process: ChildProcess | undefined;
  private watchdog: ChildProcess | undefined;
  private output = '';

  private constructor(
    readonly port: number,
    /** Its working folder, removed by {@link stop}. */
    readonly dir: string,
    private readonly options: RedisServerOptions,
  ) {}

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const dir = mkdtempSync(join(tmpdir(), 'mesh-redis-'));
    const server = new RedisServer(options.port ?? (await freePort()), dir, options);
    running.add(server);
    try {
      await server.run();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get host(): string {
    return '127.0.0.1';
  }

  /** `redis://127.0.0.1:PORT`, with the password when there is one. */
  get url(): string {
    const { password } = this.options;
    const user = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
    return `redis://${user}127.0.0.1:${this.port}`;
  }

  /** Kills the server and removes its folder. Idempotent. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
    running.delete(this);
  }

  /** Kills the server at once, keeping the folder, so that {@link run} brings it back on the same port, empty. */
  async kill(): Promise<void> {
    const child = this.process;
    this.process = undefined;
    this.watchdog?.kill('SIGKILL');
    this.watchdog = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** Kills the server and starts an empty one on the same port. */
  async restart(): Promise<void> {
    await this.kill();
    await this.run();
  }

  /** Freezes the process: connections stand, and nothing answers (half-open). */
  pause(): void {
    this.process?.kill('SIGSTOP');
  }

  /** Ends {@link pause}. */
  resume(): void {
    this.process?.kill('SIGCONT');
  }

  /** For `process.on('exit')`, where nothing asynchronous runs any more. */
  killNow(): void {
    this.process?.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Starts the process, also after {@link kill}; resolves when it answers. */
  async run(): Promise<void> {
    const { password, args = [], config } = this.options;
    const given: string[] = [];
    if (config !== undefined) {
      const file = join(this.dir, 'redis.conf');
      writeFileSync(file, config(this.port));
      given.push(file);
    } else {
      given.push('--port', String(this.port), '--bind', this.host, '--save', '', '--appendonly', 'no');
      given.push('--dir', this.dir);
      if (password !== undefined) given.push('--requirepass', password);
    }
    this.output = '';
    const child = spawn(redisBinary(), [...given, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process = child;
    const collect = (chunk: Buffer): void =>
      void (this.output = (this.output + chunk.toString()).slice(-4_000));
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    let failure: string | undefined;
    child.on('error', (error) => (failure = error.message));
    child.on('exit', (code) => (failure ??= `it exited with code ${code}`));
    this.watchdog = watchOver(child);
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await answers(this.port))) {
      if (failure !== undefined) throw new Error(`redis-server did not start: ${failure}\n${this.output}`);
      if (Date.now() > deadline) throw new Error(`redis-server did not listen in time\n${this.output}`);
      // Redis has no way to say that it listens, other than being asked again.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const running = new Set<RedisServer>();
process.on('exit', () => {
  for (const server of running) server.killNow();
});

/** The redis-server to run: `REDIS_SERVER`, else the one on PATH. */
export function redisBinary(): string {
  const named = process.env['REDIS_SERVER'];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new Error(`REDIS_SERVER is ${JSON.stringify(named)}, but there is no program that can be run`);
  }
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const candidate = join(folder, 'redis-server');
    if (folder !== '' && isExecutable(candidate)) return candidate;
  }
  throw new Error(
    'these tests need a real redis-server, and there is none on PATH: install it (Debian and Ubuntu: ' +
      '`apt-get install redis-server`, macOS: `brew install redis`), or set REDIS_SERVER to its path',
  );
}

/** A port of 127.0.0.1 that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/** A second process that outlives this one by a moment: it ends the server when the test is killed with SIGKILL. */
function watchOver(child: ChildProcess): ChildProcess {
  const script =
    'process.stdin.on("end", () => { try { process.kill(+process.argv[1], "SIGKILL"); } catch {} process.exit(); }).resume()';
  const watchdog = spawn(process.execPath, ['-e', script, String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.on('error', () => undefined);
  watchdog.stdin.on('error', () => undefined);
  watchdog.unref();
  return watchdog;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
