/** Where and with what a run was made. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { arch, cpus, release, totalmem, type } from 'node:os';
import type { Machine } from './results.js';

const BENCH = join(import.meta.dirname, '..', '..');

/** This machine. */
export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${arch()}`,
  };
}

/** The versions of everything that takes part; what is not there is left out. */
export function versions(): { [name: string]: string } {
  const { dependencies } = JSON.parse(readFileSync(join(BENCH, 'package.json'), 'utf8')) as {
    dependencies: { [name: string]: string };
  };
  const known: { [name: string]: string | undefined } = {
    node: process.version,
    python: said(process.env['MESH_BENCH_PYTHON'], ['--version']),
    'redis-server': said(process.env['REDIS_SERVER'], ['--version']),
    'nats-server': said(process.env['NATS_SERVER'], ['--version']),
    'nestjs-mesh': packageVersion('nestjs-mesh'),
  };
  for (const name of Object.keys(dependencies)) known[name] = packageVersion(name);
  return Object.fromEntries(
    Object.entries(known).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function packageVersion(name: string): string {
  const file = join(BENCH, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** The version number in what a program says of itself. */
function said(program: string | undefined, args: string[]): string | undefined {
  if (program === undefined || program === '') return undefined;
  const output = execFileSync(program, args, { encoding: 'utf8' });
  return /\d+\.\d+(\.\d+)?/.exec(output)?.[0];
}
