/** Which ports a process of this machine listens on, as the kernel tells it (Linux). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The state `LISTEN` in /proc/net/tcp. */
const LISTEN = '0A';

/** The ports, in no order. */
export function listeningPortsOf(pid: number): number[] {
  const inodes = new Set(readdirSync(`/proc/${pid}/fd`).flatMap((fd) => inodeOf(`/proc/${pid}/fd/${fd}`)));
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
        return state === LISTEN && inodes.has(inode) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : [];
      }),
  );
}

function inodeOf(fd: string): string[] {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(fd))?.slice(1) ?? [];
  } catch {
    // It was closed in the meantime.
    return [];
  }
}
