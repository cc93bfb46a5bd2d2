/** Runs the programs of the sample application as a user does, and reads what they print. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The top folder of the repository. */
export const ROOT = join(import.meta.dirname, '..', '..');
/** The Python peer's folder. */
export const PYTHON_PEER = join(ROOT, 'sample-app', 'python-peer');

const LINE_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 20_000;

/** How a program ended. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running program. Every one that a test starts is ended by {@link stopAll}. */
export class Program {
  /** What it has printed so far, on both outputs. */
  readonly lines: string[] = [];
  /** Resolves when it is gone and its output read. */
  readonly ended: Promise<End>;
  private readonly waiting = new Set<() => void>();
  private over = false;

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on('line', (line) => {
        this.lines.push(line);
        this.wake();
      });
    }
    this.ended = once(child, 'close').then(() => {
      this.over = true;
      this.wake();
      return { code: child.exitCode, signal: child.signalCode };
    });
  }

  /** Starts a program, with only the variables of ours that every program needs, and those given. */
  static start(
    command: readonly [string, ...string[]],
    { cwd = ROOT, env = {} }: { cwd?: string; env?: Record<string, string> } = {},
  ): Program {
    const own = Object.entries(process.env).filter(([name]) => !/^(MESH|HTTP|REDIS)_/.test(name));
    const [program, ...args] = command;
    const child = spawn(program, args, {
      cwd,
      env: { ...Object.fromEntries(own), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const started = new Program(command.join(' '), child);
    running.add(started);
    return started;
  }

  /** The first line, from index `from` on, that is `wanted` or matches it; waits until it is printed. */
  async line(wanted: string | RegExp, { from = 0, limitMs = LINE_LIMIT_MS } = {}): Promise<string> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const found = this.lines.slice(from).find((line) => matches(line, wanted));
      if (found !== undefined) return found;
      const left = deadline - Date.now();
      if (this.over || left <= 0) {
        const why = this.over ? 'it ended' : `${limitMs} ms passed`;
        throw new Error(
          `${this.name}: no line ${String(wanted)} (${why}); it printed:\n${this.lines.join('\n')}`,
        );
      }
      await this.change(left);
    }
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<End> {
    const killer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    this.child.kill(signal);
    const end = await this.ended;
    clearTimeout(killer);
    running.delete(this);
    return end;
  }

  /** For the last moment, when nothing asynchronous runs any more. */
  killNow(): void {
    this.child.kill('SIGKILL');
  }

  private async change(limitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, limitMs);
      this.waiting.add(done);
    });
  }

  private wake(): void {
    for (const done of [...this.waiting]) done();
  }
}

const running = new Set<Program>();
process.on('exit', () => {
  for (const program of running) program.killNow();
});

/** Ends what a test has left running, as after a failure. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((program) => program.stop('SIGKILL')));
}

/** The interpreter that `npm test` has prepared. */
export function pythonInterpreter(): string {
  const python = process.env['MESH_PYTHON'] || join(PYTHON_PEER, '.venv', 'bin', 'python');
  if (existsSync(python)) return python;
  throw new Error(`there is no ${python}: run "npm test", which makes the Python peer's virtual environment`);
}

function matches(line: string, wanted: string | RegExp): boolean {
  return typeof wanted === 'string' ? line === wanted : wanted.test(line);
}
