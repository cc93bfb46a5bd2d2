/** Runs a script with the library in a process of its own: the sources, compiled by SWC into a folder of the cache. */
import { transformFile } from '@swc/core';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export interface CompiledRegistry {
  /** Starts `script`, an ES module in which `openRegistry` (or `mesh`) is imported; its arguments are in `process.argv`. */
  run(script: string, ...args: readonly string[]): Promise<ChildProcess>;
  remove(): Promise<void>;
}

/** Compiles `lib/protocol` and `lib/registry`. Below `node_modules`, so that ioredis is found from there. */
export function compileRegistry(): Promise<CompiledRegistry> {
  return compile(
    ['lib/protocol', 'lib/registry'],
    `import { openRegistry } from './lib/registry/registry-url.js';`,
  );
}

/** Compiles all of `lib`; its index is imported as `mesh`. */
export function compileLibrary(): Promise<CompiledRegistry> {
  return compile(['lib'], `import * as mesh from './lib/index.js';`);
}

async function compile(folders: readonly string[], header: string): Promise<CompiledRegistry> {
  const cache = join(root, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'registry-'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  for (const layer of folders) {
    for (const name of await readdir(join(root, layer), { recursive: true })) {
      if (!name.endsWith('.ts')) continue;
      const { code } = await transformFile(join(root, layer, name), {
        swcrc: false,
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          keepClassNames: true,
        },
        module: { type: 'es6' },
      });
      const target = join(folder, layer, name.replace(/\.ts$/, '.js'));
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, code);
    }
  }
  let scripts = 0;
  return {
    async run(script, ...args) {
      const file = join(folder, `script-${(scripts += 1)}.mjs`);
      await writeFile(file, `${header}\n${script}`);
      return spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
    },
    remove: () => rm(folder, { recursive: true }),
  };
}
