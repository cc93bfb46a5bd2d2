/** What one node holds for each idle session that it has dialled. */
import { Program } from './program/program.js';
import type { Json, Surroundings, Usage } from './program/protocol.js';

const SIDE = { kind: 'node', module: 'mesh-nodes' } as const;
/** The first bear the cost of all that is there once. */
const FIRST = 100;
const FURTHER = 400;

/** Resident bytes for each session. `settled` tells what a program has used once it is at rest. */
export async function idleClientBytes(
  around: Surroundings,
  tls: boolean,
  settled: (program: Program) => Promise<Usage>,
): Promise<number> {
  const programs: Program[] = [];
  const start = (name: string): Program => {
    const program = Program.start(`mesh, ${name}`, SIDE);
    programs.push(program);
    return program;
  };
  try {
    const caller = start('one caller');
    const callAll = async (count: number): Promise<Usage> => {
      const settings = { count, tls };
      const nodes = start(`${count} nodes`);
      const address = await nodes.ask<Json>('serve', { ...around, settings });
      await caller.ask('connect', { ...around, settings, address });
      return settled(caller);
    };
    const before = await callAll(FIRST);
    const after = await callAll(FURTHER);
    return (after.rssBytes - before.rssBytes) / FURTHER;
  } finally {
    await Promise.all(programs.map((program) => program.stop()));
  }
}
