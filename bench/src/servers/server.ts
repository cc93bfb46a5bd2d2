/** Servers that peers need beside them (Redis, NATS): started on a free port of loopback, and never left behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerName } from '../peers/peer.js';
import { freePort } from './free-port.js';

const START_LIMIT_MS = 10_000;

/** How to start a server: its program, which `scripts/bench.mjs` has found, and its arguments. */
interface Recipe {
  /** The environment variable that names the program; one that is absent tells why in `..._ABSENT`. */
  readonly variable: string;
  readonly scheme: string;
  args(port: number, folder: string): string[];
}

const recipes: { readonly [name in ServerName]: Recipe } = {
  redis: {
    variable: 'REDIS_SERVER',
    scheme: 'redis',
    args: (port, folder) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
      ...['--dir', folder],
    ],
  },
  nats: {
    variable: 'NATS_SERVER',
    scheme: 'nats',
    args: (port) => ['--addr', '127.0.0.1', '--port', String(port)],
  },
};

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A running server, and how to end it. */
export interface StandingServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Why a server cannot be started on this machine, or `undefined` when it can. */
export function reasonAbsent(name: ServerName): string | undefined {
  const { variable } = recipes[name];
  if ((process.env[variable] ?? '') !== '') return undefined;
  return process.env[`${variable}_ABSENT`] ?? `${variable} does not name a program`;
}

/** Starts a server and waits until it listens. */
export async function startServer(name: ServerName, folder: string): Promise<StandingServer> {
  const { variable, scheme, args } = recipes[name];
  const port = await freePort();
  const child = spawn(process.env[variable] ?? '', args(port, folder), { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let output = '';
  let ended: string | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-2_000)));
  }
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended ??= `it ended with ${signal ?? `exit code ${code}`}`));
  const watchdog = watchOver(child);
  const stop = async (): Promise<void> => {
    running.delete(child);
    watchdog?.kill('SIGKILL');
    if (ended !== undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  for (const until = Date.now() + START_LIMIT_MS; !(await answers(port)); await delay(20)) {
    if (ended === undefined && Date.now() < until) continue;
    await stop();
    throw new Error(`${name} did not start: ${ended ?? 'it does not listen'}\n${output}`);
  }
  return { url: `${scheme}://127.0.0.1:${port}`, pid: child.pid ?? 0, stop };
}

/** A second process that outlives this one by a moment: it ends the server when the bench is killed with SIGKILL. */
function watchOver(child: ChildProcess): ChildProcess | undefined {
  if (process.platform === 'win32' || child.pid === undefined) return undefined;
  const watchdog = spawn('sh', ['-c', 'cat > /dev/null; kill -9 "$1"', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.on('error', () => undefined);
  watchdog.stdin?.on('error', () => undefined);
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
