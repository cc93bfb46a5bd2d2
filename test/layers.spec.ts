/** The layers of `lib/` hold: imports point one way, in no circle, and each foreign package has one home. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { importFaults } from './tooling/import-rules.js';

const ROOT = join(import.meta.dirname, '..');

function sources(): Map<string, string> {
  const names = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' });
  const paths = names
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `lib/${name.replaceAll('\\', '/')}`);
  return new Map(paths.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]));
}

/** The faults of a made-up tree that is sound but for the files given. */
function faultsOf(bad: Record<string, string>): string[] {
  const sound = {
    'lib/index.ts': `export { Node } from './node/node.js';`,
    'lib/protocol/frame.ts': `import { Buffer } from 'node:buffer'; export const frame = Buffer.alloc(4);`,
    'lib/registry/registry.ts': `import { Redis } from 'ioredis'; import { frame } from '../protocol/frame.js'; export const r = [Redis, frame];`,
    'lib/transport/session.ts': `import http2 from 'node:http2'; export const s = http2;`,
    'lib/node/node.ts': `import { r } from '../registry/registry.js'; export class Node { r = r; }`,
    'lib/testing/mesh.ts': `import { Node } from '../node/node.js'; export { throwError } from 'rxjs'; export class Mesh { n = Node; }`,
    'lib/nest/server.ts': `import { Server } from '@nestjs/microservices'; import { Subject } from 'rxjs'; export const all = [Server, Subject];`,
  };
  return importFaults(new Map(Object.entries({ ...sound, ...bad })));
}

describe('The sources in lib/', () => {
  it('keep every rule of the layers', () => {
    const files = sources();
    expect(files.size).toBeGreaterThan(0);
    expect(importFaults(files)).toEqual([]);
  });
});

describe('The check of the layers', () => {
  it('finds nothing wrong with a sound tree', () => {
    expect(faultsOf({})).toEqual([]);
  });

  it.each([
    [
      'a lower layer that imports a higher one',
      'lib/protocol/a.ts',
      `import { Node } from '../node/node.js';`,
    ],
    ['a type import upwards', 'lib/registry/a.ts', `import type { Node } from '../node/node.js';`],
    ['a dynamic import upwards', 'lib/registry/a.ts', `export const n = () => import('../node/node.js');`],
    ['a re-export upwards', 'lib/registry/a.ts', `export { Node } from '../node/node.js';`],
    ['an import of the index', 'lib/nest/a.ts', `import { Node } from '../index.js';`],
    ['an import of a file that is not there', 'lib/nest/a.ts', `import { Gone } from './gone.js';`],
    ['a file beside the folders', 'lib/util.ts', `export const a = 1;`],
    ['an unknown folder', 'lib/helpers/a.ts', `export const a = 1;`],
    ['sockets in the protocol', 'lib/protocol/a.ts', `import { connect } from 'node:net';`],
    ['HTTP/2 in the protocol', 'lib/protocol/a.ts', `import http2 from 'http2';`],
    ['timer modules in the protocol', 'lib/protocol/a.ts', `import timers from 'node:timers/promises';`],
    ['global timers in the protocol', 'lib/protocol/a.ts', `setTimeout(() => undefined, 1);`],
    ['Nest in the protocol', 'lib/protocol/a.ts', `import { Logger } from '@nestjs/common';`],
    ['Nest below lib/nest', 'lib/node/a.ts', `import { Logger } from '@nestjs/common';`],
    [
      'the index that gives everybody what is for tests',
      'lib/index.ts',
      `export { Mesh } from './testing/mesh.js';`,
    ],
    ['rxjs below lib/nest', 'lib/transport/a.ts', `import { map } from 'rxjs/operators';`],
    ['ioredis outside lib/registry', 'lib/node/a.ts', `import type { Redis } from 'ioredis';`],
    ['export *', 'lib/node/a.ts', `export * from './node.js';`],
    ['export * as', 'lib/node/a.ts', `export * as node from './node.js';`],
    ['console', 'lib/node/a.ts', `console.log('hello');`],
  ])('reports %s', (_what, path, text) => {
    const faults = faultsOf({ [path]: text });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(path);
  });

  it('reports a cycle with the files on it, in order', () => {
    const faults = faultsOf({
      'lib/node/a.ts': `import { b } from './b.js'; export const a = b;`,
      'lib/node/b.ts': `import { c } from './c.js'; export const b = c;`,
      'lib/node/c.ts': `import { a } from './a.js'; export const c = a;`,
    });
    expect(faults).toEqual(['cycle: lib/node/a.ts -> lib/node/b.ts -> lib/node/c.ts -> lib/node/a.ts']);
  });

  it('does not take the words of a comment or a text for code', () => {
    expect(
      faultsOf({
        'lib/protocol/a.ts': `// console, import x from 'ioredis'\nexport const a = "setTimeout";`,
      }),
    ).toEqual([]);
  });
});
