/** Process groups: who is still in one, and how to signal all of it at once. */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';

/** False on Windows, which has no process groups: there only the program itself is known and signalled. */
export const HAS_GROUPS = process.platform !== 'win32';

/**
 * Signals every process of the group that `leader` began.
 *
 * @param {number | undefined} leader its process id; nothing happens when it never started
 * @param {NodeJS.Signals} signal
 * @returns {void}
 */
export function signalGroup(leader, signal) {
  if (leader === undefined) return;
  try {
    process.kill(HAS_GROUPS ? -leader : leader, signal);
  } catch {
    // Gone already, which is what a signal is for.
  }
}

/**
 * The command lines of all living processes in the group of `leader`. Zombies are not living: where nobody reaps
 * orphans (a container without an init) they stay for ever, and hold nothing.
 *
 * @param {number | undefined} leader
 * @returns {string[]}
 */
export function groupMembers(leader) {
  if (!HAS_GROUPS || leader === undefined) return [];
  return process.platform === 'linux' ? membersFromProc(leader) : membersFromPs(leader);
}

function membersFromProc(leader) {
  const members = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      // "pid (name) state ppid pgrp …", where the name may hold spaces and brackets.
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(group) !== leader || state === 'Z') continue;
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      members.push(`${pid} ${words.join(' ').trim()}`);
    } catch {
      // It ended while we looked.
    }
  }
  return members;
}

function membersFromPs(leader) {
  const lines = execFileSync('ps', ['-axo', 'pgid=,stat=,pid=,command='], { encoding: 'utf8' }).split('\n');
  const rows = lines.map((line) => line.trim().split(/\s+/));
  return rows
    .filter(([group, state]) => Number(group) === leader && !state.startsWith('Z'))
    .map(([, , ...rest]) => rest.join(' '));
}
