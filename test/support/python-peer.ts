/** Starts a real Python peer in a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PEER_FOLDER = join(dirname(fileURLToPath(import.meta.url)), '../../sample-app/python-peer');
const READY_TIMEOUT_MS = 20_000;

/** The interpreter that `npm test` has prepared. */
function interpreter(): string {
  const python = join(PEER_FOLDER, '.venv/bin/python');
  if (existsSync(python)) return python;
  throw new Error(
    `there is no ${python}: run "npm test", which makes the virtual environment of the Python peer`,
  );
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export class PythonPeer {
  private output = '';

  private constructor(
    private readonly process: ChildProcess,
    readonly service: string,
  ) {}

  /** Runs `tests/SCRIPT` and resolves once it has printed `ready` (`ready PORT` unless another line is given). */
  static async start(
    script: 'interop_peer.py' | 'part1_peer.py',
    options: {
      registry: string;
      service: string;
      tls?: TlsFiles | undefined;
      args?: readonly string[];
      ready?: RegExp;
    },
  ): Promise<PythonPeer> {
    const { registry, service, tls, args = [], ready = /^ready \d+$/m } = options;
    const tlsArgs = tls === undefined ? [] : ['--tls', tls.cert, tls.key, tls.ca];
    const child = spawn(
      interpreter(),
      ['-u', join('tests', script), '--registry', registry, '--service', service, ...tlsArgs, ...args],
      { cwd: PEER_FOLDER, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const peer = new PythonPeer(child, service);
    await peer.ready(ready);
    return peer;
  }

  /** Everything it has printed. */
  get printed(): string {
    return this.output;
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Ends it in order; the exit code. */
  async stop(): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      const timer = setTimeout(() => this.process.kill('SIGKILL'), 15_000);
      await gone;
      clearTimeout(timer);
    }
    return this.process.exitCode;
  }

  private ready(line: RegExp): Promise<void> {
    const { process: child } = this;
    return new Promise((resolve, reject) => {
      const fail = (reason: string): void => {
        child.kill('SIGKILL');
        reject(new Error(`the Python peer ${reason}\n${this.output}`));
      };
      const timer = setTimeout(() => fail('was not ready in time'), READY_TIMEOUT_MS);
      const collect = (chunk: Buffer): void => {
        this.output += chunk.toString('utf8');
        if (line.test(this.output)) {
          clearTimeout(timer);
          resolve();
        }
      };
      child.stdout?.on('data', collect);
      child.stderr?.on('data', collect);
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        if (line.test(this.output)) resolve();
        else fail(`ended with ${code ?? signal}`);
      });
    });
  }
}
