/** Runs another program in a process group of its own, so that nothing it started can outlive it or hang us. */
import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { groupMembers, HAS_GROUPS, signalGroup } from './process-group.mjs';

/** How long a group may take to end after SIGTERM, or to be gone after its leader's exit, in milliseconds. */
const GRACE_MS = 3_000;

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {Record<string, string | undefined>} [env] added to this process's own environment
 * @property {number} [limitMs] kill the program, with all that it started, after so many milliseconds; 0, the default: never
 * @property {AbortSignal} [signal] kills the program, with all that it started; its reason is told in `killedBecause`
 * @property {boolean} [quiet] keep the output instead of showing it (default: false)
 */

/**
 * @typedef {object} RunResult
 * @property {number} code exit code; 1 when it was killed or could not be started
 * @property {string} output what it wrote, when `quiet`
 * @property {string | undefined} killedBecause why we ended it, if we did
 * @property {string[]} leftBehind the processes that it started and that outlived it (they are killed)
 */

/**
 * Runs `command` to its end, without standard input. Never throws for an exit code, nor when it cannot be started.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<RunResult>}
 */
export async function run(command, args, { cwd, env, limitMs = 0, quiet = false, signal } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: HAS_GROUPS,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
  });
  let output = '';
  const closed = new Promise((resolve) => child.once('close', resolve));
  const keep = (chunk) => (output += chunk);
  child.stdout?.setEncoding('utf8').on('data', keep);
  child.stderr?.setEncoding('utf8').on('data', keep);

  let killedBecause;
  const kill = (reason) => {
    killedBecause ??= reason;
    endGroup(child, 'SIGTERM');
  };
  const timer =
    limitMs > 0 ? setTimeout(kill, limitMs, `it ran longer than ${limitMs / 1_000} s`) : undefined;
  const onAbort = () => kill(String(signal?.reason));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const stopForwarding = forwardSignals(child);

  try {
    const code = await exitOf(child, quiet ? keep : console.error);
    const leftBehind = await waitForGroup(child.pid);
    if (quiet) await Promise.race([closed, delay(GRACE_MS, undefined, { ref: false })]);
    return { code: killedBecause === undefined ? code : 1, output, killedBecause, leftBehind };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    stopForwarding();
  }
}

/** Not the event "close": that waits for the output of processes left behind, which may never end. */
function exitOf(child, tell) {
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code ?? 1));
    child.once('error', (error) => {
      tell(error.message);
      resolve(1);
    });
  });
}

/** Hands on what the terminal no longer reaches (Ctrl-C), and takes the group along whenever this process ends. */
function forwardSignals(child) {
  const onSignal = (name) => {
    child.once('exit', () => process.exit(130));
    endGroup(child, name);
  };
  const onExit = () => signalGroup(child.pid, 'SIGKILL');
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const name of names) process.on(name, onSignal);
  process.once('exit', onExit);
  return () => {
    for (const name of names) process.off(name, onSignal);
    process.off('exit', onExit);
  };
}

function endGroup(child, name) {
  signalGroup(child.pid, name);
  setTimeout(() => {
    if (child.exitCode === null && child.signalCode === null) signalGroup(child.pid, 'SIGKILL');
  }, GRACE_MS).unref();
}

/** Gives the rest of the group a little time to go, then kills it and says who it was. */
async function waitForGroup(leader) {
  for (const until = Date.now() + GRACE_MS; groupMembers(leader).length > 0; await delay(50)) {
    if (Date.now() < until) continue;
    const members = groupMembers(leader);
    signalGroup(leader, 'SIGKILL');
    // A killed process is gone a moment later, unless the kernel holds it, which no waiting would mend.
    for (let turn = 0; turn < 20 && groupMembers(leader).length > 0; turn += 1) await delay(10);
    return members;
  }
  return [];
}
