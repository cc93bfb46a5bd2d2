/** A program that the bench has started: a side of a peer, asked by commands, and never left behind. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { once } from 'node:events';
import type { Side } from '../peers/peer.js';
import type { Command, Json, Reply } from './protocol.js';

const MAIN = join(import.meta.dirname, 'main.js');
/** Where the programs in Python are. */
export const PYTHON_FOLDER = join(import.meta.dirname, '..', '..', 'python');
/** For commands that say no other: long enough for a case, and an end for one that hangs. In milliseconds. */
const ASK_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 5_000;

interface Waiting {
  readonly resolve: (result: Json) => void;
  readonly reject: (error: Error) => void;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** How a program is started; everything may be left out. */
export interface ProgramOptions {
  /** Flags of Node itself, for example `--cpu-prof`. */
  readonly nodeArgs?: readonly string[];
}

/** A Node or Python process that answers commands. */
export class Program {
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private ended: string | undefined;
  private lastWords = '';

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
    private readonly write: (command: Command) => unknown,
  ) {
    running.add(child);
    child.once('error', (error) => this.end(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) =>
      this.end(signal === null ? `exit code ${code}` : `signal ${signal}`),
    );
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.lastWords = (this.lastWords + text).slice(-2_000);
    });
  }

  /** Starts the program of one side. `name` is for messages. */
  static start(name: string, side: Side, { nodeArgs = [] }: ProgramOptions = {}): Program {
    return side.kind === 'node'
      ? Program.startNode(name, side.module, nodeArgs)
      : Program.startPython(name, side.file);
  }

  private static startNode(name: string, module: string, nodeArgs: readonly string[]): Program {
    const child = fork(MAIN, [module], {
      // Logs of the libraries must not mix with the table; errors are kept for the message.
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: ['--expose-gc', ...nodeArgs],
    });
    const program = new Program(name, child, (command) => child.send(command));
    child.on('message', (reply) => program.take(reply as Reply));
    return program;
  }

  private static startPython(name: string, file: string): Program {
    const python = process.env['MESH_BENCH_PYTHON'] ?? 'python3';
    const child = spawn(python, ['-u', join(PYTHON_FOLDER, file)], { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => undefined);
    const program = new Program(name, child, (command) => child.stdin.write(`${JSON.stringify(command)}\n`));
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => program.take(JSON.parse(line) as Reply));
    return program;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Resolves with the answer to a command; rejects when it fails, when the program ends, or after `limitMs`. */
  async ask<Answer>(command: Command['command'], args: object = {}, limitMs = ASK_LIMIT_MS): Promise<Answer> {
    if (this.ended !== undefined) throw this.gone(command);
    this.lastId += 1;
    const id = this.lastId;
    let timer: NodeJS.Timeout | undefined;
    try {
      return (await new Promise<Json>((resolve, reject) => {
        this.waiting.set(id, { resolve, reject });
        const late = (): void =>
          reject(new Error(`${this.name}: no answer to "${command}" in ${limitMs} ms`));
        timer = setTimeout(late, limitMs);
        this.write({ id, command, args: args as Json });
      })) as Answer;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  /** Lets it close in order, and ends it if it does not. Idempotent. */
  async stop(): Promise<void> {
    if (this.ended !== undefined) return;
    const gone = once(this.child, 'exit');
    await this.ask('stop', {}, STOP_LIMIT_MS).catch(() => this.child.kill('SIGKILL'));
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    if (this.ended === undefined) await gone;
    clearTimeout(timer);
  }

  private take(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (waiting === undefined) return;
    if ('error' in reply) waiting.reject(new Error(`${this.name}: ${reply.error}`));
    else waiting.resolve(reply.result);
  }

  private end(how: string): void {
    this.ended ??= how;
    running.delete(this.child);
    for (const { reject } of this.waiting.values()) reject(this.gone('what was asked'));
  }

  private gone(command: string): Error {
    const words = this.lastWords === '' ? '' : `; its last words:\n${this.lastWords}`;
    return new Error(`${this.name} ended (${this.ended}) before it answered ${command}${words}`);
  }
}
