/** One process of the cluster. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Usage } from './settings.js';

const LIMIT_MS = 60_000;
/** A program that is told to end has so long. */
const END_LIMIT_MS = 30_000;
const KEPT_CHARACTERS = 20_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Program {
  private output = '';
  private readonly lines: string[] = [];
  private rest = '';
  private readonly gone: Promise<unknown>;

  constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    running.add(child);
    this.gone = once(child, 'exit').then(() => running.delete(child));
    child.on('error', (error) => (this.output += String(error)));
    child.stdin?.on('error', () => undefined);
    child.stderr?.on('data', (chunk: Buffer) => this.keep(chunk.toString()));
    child.stdout?.on('data', (chunk: Buffer) => {
      const parts = (this.rest + chunk.toString()).split('\n');
      this.rest = parts.pop() ?? '';
      this.lines.push(...parts);
    });
  }

  /** Its standard input is a pipe that is never written to: its end tells the program that nobody waits for it any more. */
  static start(name: string, [command = '', ...args]: readonly string[], cwd?: string): Program {
    return new Program(name, spawn(command, args, { cwd, stdio: ['pipe', 'pipe', 'pipe'] }));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** What it has written to its standard error lately. */
  get log(): string {
    return this.output;
  }

  /** Waits for a line of its standard output that begins like this. */
  async says(beginning: string, limitMs = LIMIT_MS): Promise<string> {
    for (const until = Date.now() + limitMs; ;) {
      const at = this.lines.findIndex((line) => line.startsWith(beginning));
      if (at >= 0) return this.lines.splice(at, 1)[0] ?? '';
      if (this.child.exitCode !== null || this.child.signalCode !== null || Date.now() > until) {
        throw new Error(`${this.name} did not say "${beginning}"; its words:\n${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async usage(): Promise<Usage> {
    this.signal('SIGUSR2');
    return JSON.parse((await this.says('usage ')).slice('usage '.length)) as Usage;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** SIGTERM, and how it ended: its exit code. SIGKILL when it takes too long. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), END_LIMIT_MS);
    await this.gone;
    clearTimeout(timer);
    return this.child.exitCode;
  }

  /** SIGKILL: no word to anybody. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    if (this.child.exitCode === null && this.child.signalCode === null) await this.gone;
  }

  private keep(text: string): void {
    this.output = (this.output + text).slice(-KEPT_CHARACTERS);
  }
}
