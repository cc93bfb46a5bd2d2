/** docs/configuration.md names every option that there is, and no other, with the defaults of the code. */
import { describe, expect, it } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { MESH_DEFAULTS } from '../../lib/node/mesh-options.js';
import { DEFAULT_WIRE_LIMITS } from '../../lib/protocol/limits.js';
import { REGISTRY_DEFAULTS } from '../../lib/registry/registry.js';
import { DEFAULT_EJECTION } from '../../lib/routing/ejection.js';
import { DEFAULT_RETRY } from '../../lib/routing/retry.js';
import { DEFAULT_RETRY_BUDGET } from '../../lib/routing/retry-budget.js';
import { DEFAULT_BACKOFF } from '../../lib/transport/backoff.js';
import { DEFAULT_KEEP_ALIVE } from '../../lib/transport/keep-alive.js';
import { ROOT } from './snippet-project.js';

const read = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');
const DOC = read('docs', 'configuration.md');

/** The interfaces of options, and the file where each is. */
const INTERFACES = {
  MeshOptions: 'lib/node/mesh-options.ts',
  MeshServerOptions: 'lib/nest/mesh.server.ts',
  MeshTlsOptions: 'lib/transport/tls-options.ts',
  MeshClientOptions: 'lib/nest/client-options.ts',
  MeshFeature: 'lib/nest/mesh.module.ts',
  MeshModuleAsyncOptions: 'lib/nest/mesh.module.ts',
  MeshCallOptions: 'lib/nest/call-options.ts',
  MeshRecordOptions: 'lib/nest/mesh.record-builder.ts',
  MeshChannelOptions: 'lib/nest/client-options.ts',
  MeshHandlerExtras: 'lib/nest/handler-extras.ts',
  ServiceTarget: 'lib/node/target.ts',
} as const;
type InterfaceName = keyof typeof INTERFACES;

/** Options of MeshOptions whose own fields are documented beside them. */
const NESTED = ['advertise', 'http', 'keepAlive', 'reconnect', 'limits', 'ejection', 'retry', 'retryBudget'];

const DEFAULTS: Readonly<Record<string, string | number | boolean>> = {
  ...MESH_DEFAULTS,
  ...REGISTRY_DEFAULTS,
  ...prefixed('keepAlive', DEFAULT_KEEP_ALIVE),
  ...prefixed('reconnect', DEFAULT_BACKOFF),
  ...prefixed('limits', DEFAULT_WIRE_LIMITS),
  ...prefixed('ejection', DEFAULT_EJECTION),
  ...prefixed('retry', DEFAULT_RETRY),
  ...prefixed('retryBudget', DEFAULT_RETRY_BUDGET),
};

const COMPILE_LIMIT_MS = 120_000;
const NAMES = Object.keys(INTERFACES) as InterfaceName[];

function prefixed(name: string, values: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [`${name}.${key}`, value as number]),
  );
}

/** The options documented under `## name`, each with its text. */
function documented(name: string): Map<string, string> {
  const section = new RegExp(`^## ${name}\\n([\\s\\S]*?)(?=^## |$(?![\\s\\S]))`, 'm').exec(DOC)?.[1] ?? '';
  return new Map(
    section
      .split(/^### /m)
      .slice(1)
      .map((text) => [/^`([^`]+)`/.exec(text)?.[1] ?? text.slice(0, 40), text]),
  );
}

/** The properties of the interfaces, as the compiler sees them. */
function declared(): Record<InterfaceName, { own: string[]; comments: Map<string, string> }> {
  const files = [...new Set(Object.values(INTERFACES))].map((file) => join(ROOT, file));
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules', '@types')],
  });
  const checker = program.getTypeChecker();
  const typeOf = (name: InterfaceName): ts.Type => {
    const source = program.getSourceFile(join(ROOT, INTERFACES[name]));
    const module = source && checker.getSymbolAtLocation(source);
    const symbol = module && checker.getExportsOfModule(module).find((one) => one.name === name);
    if (symbol === undefined) throw new Error(`${INTERFACES[name]} exports no ${name}`);
    return checker.getDeclaredTypeOfSymbol(symbol);
  };
  const nodeOptions = typeOf('MeshOptions');
  const properties = (type: ts.Type, path = ''): [string, string][] =>
    checker.getPropertiesOfType(type).flatMap((property): [string, string][] => {
      const name = `${path}${property.name}`;
      const tag = property.getJsDocTags(checker).find((one) => one.name === 'default');
      const entry: [string, string] = [name, ts.displayPartsToString(tag?.text)];
      if (path !== '' || type !== nodeOptions || !NESTED.includes(name)) return [entry];
      return [
        entry,
        ...properties(checker.getNonNullableType(checker.getTypeOfSymbol(property)), `${name}.`),
      ];
    });
  const inherited = new Set(properties(typeOf('MeshOptions')).map(([name]) => name));
  return Object.fromEntries(
    NAMES.map((name) => {
      const found = properties(typeOf(name));
      const own = found.map(([property]) => property);
      const left = ['MeshClientOptions', 'MeshServerOptions'].includes(name)
        ? own.filter((property) => !inherited.has(property))
        : own;
      return [name, { own: left, comments: new Map(found) }];
    }),
  ) as Record<InterfaceName, { own: string[]; comments: Map<string, string> }>;
}

/** Code files below a folder, without what was installed or built. */
function filesBelow(folder: string, ext: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => ext.test(file) && !/(^|\/)(node_modules|dist|\.venv|tests?)\//.test(file))
    .map((file) => join(folder, file));
}

describe('docs/configuration.md', () => {
  let interfaces: ReturnType<typeof declared> | undefined;
  const declaredOnce = (): ReturnType<typeof declared> => (interfaces ??= declared());

  it.each(NAMES)(
    'names every option of %s, and no other',
    (name) => {
      expect([...documented(name).keys()].sort()).toEqual([...declaredOnce()[name].own].sort());
    },
    COMPILE_LIMIT_MS,
  );

  it('gives the defaults of the code', () => {
    const options = documented('MeshOptions');
    const given = Object.keys(DEFAULTS).map((name) => [
      name,
      /Default: `([^`]+)`/.exec(options.get(name) ?? '')?.[1],
    ]);
    const wanted = Object.entries(DEFAULTS).map(([name, value]) => [name, String(value)]);
    expect(given).toEqual(wanted);
  });

  it('says the default of every option that has no fields of its own', () => {
    const silent = NAMES.flatMap((name) =>
      [...documented(name)].flatMap(([option, text]) =>
        /Default: \S/.test(text) || NESTED.includes(option) ? [] : `${name}.${option}`,
      ),
    );
    expect(silent).toEqual([]);
  });

  it('says what raising and lowering does, for every number that is a time or a bound', () => {
    const numbers = Object.keys(DEFAULTS).filter(
      (name) => typeof DEFAULTS[name] === 'number' && name !== 'port',
    );
    const options = documented('MeshOptions');
    expect(numbers.filter((name) => !/Raise: [\s\S]*Lower: /.test(options.get(name) ?? ''))).toEqual([]);
  });

  it('agrees with the defaults in the comments of the options', () => {
    const { comments } = declaredOnce().MeshOptions;
    const wrong = [...comments].flatMap(([name, comment]) => {
      const number = /^[\d_.]+/.exec(comment)?.[0].replaceAll('_', '');
      return number === undefined || number === String(DEFAULTS[name]) ? [] : `${name}: ${comment}`;
    });
    expect(wrong).toEqual([]);
  });

  it('names every argument of the Python peer, with its default', () => {
    const source = read('sample-app', 'python-peer', 'nestjs_mesh', 'peer.py');
    const parameters = /def __init__\(\s+self,([\s\S]*?)\) -> None:/.exec(source)?.[1] ?? '';
    const names = [...parameters.matchAll(/^\s+(\w+):[^=\n]*?(?: = ([^\n]+),)?$/gm)].map((match) => match[1]);
    expect(names.length).toBeGreaterThan(5);
    const section = DOC.slice(DOC.indexOf('## The Python peer'));
    expect(names.filter((name) => !section.includes(`| \`${name}\``))).toEqual([]);
    for (const [, name, value] of parameters.matchAll(/^\s+(\w+): \w+ = "?([\d.]+|redis[^"]*)"?,$/gm)) {
      expect(section).toMatch(new RegExp(`\\| \`${name}\`[^\\n]*\\| \`${value}\``));
    }
  });

  it('names every environment variable that the sample application reads', () => {
    const sample = join(ROOT, 'sample-app');
    const node = filesBelow(join(sample, 'node-peer'), /\.ts$/);
    const python = filesBelow(join(sample, 'python-peer'), /\.py$/);
    const names = [...node, ...python]
      .filter(existsSync)
      .flatMap((file) =>
        [
          ...read(file.slice(ROOT.length)).matchAll(
            /(?:env(?:iron)?(?:\.get\(|\[)|whole\()\s*['"]([A-Z][A-Z_]+)['"]/g,
          ),
        ].map(([, name]) => name ?? ''),
      );
    expect(names.length).toBeGreaterThan(5);
    expect([...new Set(names)].filter((name) => !DOC.includes(`| \`${name}\``))).toEqual([]);
  });
});
