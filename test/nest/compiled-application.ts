/** Runs an application in a process of its own: `lib/` and the application, compiled by SWC into a folder of the cache. */
import { transform, transformFile, type Options } from '@swc/core';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

const OPTIONS: Options = {
  swcrc: false,
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
    keepClassNames: true,
  },
  module: { type: 'es6' },
};

export interface CompiledApplication {
  /** Starts it with these arguments; its output is piped. */
  run(...args: readonly string[]): ChildProcess;
  remove(): Promise<void>;
}

/** `source` is TypeScript that imports the library from `./lib/index.js`. Below `node_modules`, so that Nest is found. */
export async function compileApplication(source: string): Promise<CompiledApplication> {
  const cache = join(root, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'application-'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  for (const name of await readdir(join(root, 'lib'), { recursive: true })) {
    if (!name.endsWith('.ts')) continue;
    const target = join(folder, 'lib', name.replace(/\.ts$/, '.js'));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, (await transformFile(join(root, 'lib', name), OPTIONS)).code);
  }
  const main = join(folder, 'main.js');
  await writeFile(main, (await transform(source, OPTIONS)).code);
  return {
    run: (...args) => spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
