/** Starts `child-program.mjs` and takes it away by signals. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import type { NodeRecord } from '../../lib/registry/node-record.js';
import { recordOf } from './mesh-fixture.js';

/** A peer in another process. */
export class ChildPeer {
  private constructor(
    private readonly child: ChildProcess,
    readonly record: NodeRecord,
  ) {}

  /** `silent` never answers, `deaf` does not even read. */
  static async start(service: string, manner?: 'silent' | 'deaf'): Promise<ChildPeer> {
    const id = randomUUID();
    const script = join(import.meta.dirname, 'child-program.mjs');
    const args = manner === undefined ? [id] : [id, manner];
    const child = spawn(process.execPath, [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return new ChildPeer(child, recordOf(service, Number(line.toString()), id));
  }

  /** SIGKILL: no word to anybody. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  /** SIGSTOP: connections stand, and nothing answers. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.kill();
    await gone;
  }
}
