/** A program that runs beside others: its output line by line, and an end that leaves nothing of it behind. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { groupMembers, HAS_GROUPS, signalGroup } from './process-group.mjs';

/** For what it still has to do after SIGTERM: a peer may take ten seconds to finish its calls. In milliseconds. */
const STOP_LIMIT_MS = 15_000;
/** How many of its last lines are kept, to tell why it ended. */
const KEPT_LINES = 5;

/** Runs in a process group of its own, so that a Ctrl-C in the terminal reaches only us, who stop it in order. */
export class PeerProcess {
  /** Resolves with how it ended, for example `exit code 1`. @type {Promise<string>} */
  ended;
  /** The last lines that it printed. @type {string[]} */
  lastLines = [];
  #child;
  #killNow = () => signalGroup(this.#child.pid, 'SIGKILL');

  /**
   * @param {string} name
   * @param {readonly string[]} command the program and its arguments
   * @param {{ cwd: string, env: Record<string, string | undefined>, onLine: (line: string) => void }} options
   */
  constructor(name, [program, ...args], { cwd, env, onLine }) {
    this.name = name;
    this.#child = spawn(program, args, { cwd, env, detached: HAS_GROUPS, stdio: ['ignore', 'pipe', 'pipe'] });
    process.once('exit', this.#killNow);
    const outputs = [this.#child.stdout, this.#child.stderr].map((stream) => this.#read(stream, onLine));
    const exit = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`it could not be started: ${error.message}`));
      this.#child.once('exit', (code, signal) =>
        resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`),
      );
    });
    // Its last lines first: they say why. But what it left running may hold its output open for ever.
    this.ended = exit.then(async (how) => {
      await Promise.race([Promise.all(outputs), delay(1_000, undefined, { ref: false })]);
      return how;
    });
  }

  /**
   * Asks it to end, and makes it.
   *
   * @returns {Promise<string | undefined>} what was not in order, if anything
   */
  async stop() {
    signalGroup(this.#child.pid, 'SIGTERM');
    const timer = new AbortController();
    const late = delay(STOP_LIMIT_MS, 'late', { signal: timer.signal }).catch(() => 'late');
    const how = await Promise.race([this.ended, late]);
    timer.abort();
    const left = how === 'late' ? [] : groupMembers(this.#child.pid);
    this.#killNow();
    process.off('exit', this.#killNow);
    if (how === 'late') return `${this.name} did not stop within ${STOP_LIMIT_MS / 1_000} s, and was killed`;
    if (left.length > 0) return `${this.name} left processes running: ${left.join(', ')}`;
    return how === 'exit code 0' ? undefined : `${this.name} ended with ${how}`;
  }

  #read(stream, onLine) {
    const lines = createInterface({ input: stream, crlfDelay: Infinity });
    lines.on('line', (line) => {
      this.lastLines = [...this.lastLines, line].slice(-KEPT_LINES);
      onLine(line);
    });
    return new Promise((resolve) => lines.once('close', resolve));
  }
}
