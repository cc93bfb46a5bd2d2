/** Compiles the library and the programs of `test/chaos` by SWC into a folder of the cache, to be run by Node as they are. */
import { transformFile } from '@swc/core';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './paths.mjs';

/** @type {import('@swc/core').Options} */
const OPTIONS = {
  swcrc: false,
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
    keepClassNames: true,
  },
  module: { type: 'es6' },
};

const SOURCES = ['lib', 'test/chaos', 'test/support'];

/**
 * @returns {Promise<{ folder: string, remove: () => void }>} below `node_modules`, so that Nest is found from there
 */
export async function compilePrograms() {
  const cache = join(ROOT, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'chaos-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  for (const source of SOURCES) {
    for (const name of readdirSync(join(ROOT, source), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts') || name.endsWith('.spec.ts')) continue;
      const target = join(folder, source, name.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, (await transformFile(join(ROOT, source, name), OPTIONS)).code);
    }
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
