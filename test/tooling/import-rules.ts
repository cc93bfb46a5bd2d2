/** The rules of the layers: which file of `lib/` may import what, checked on the sources alone. */
import { posix } from 'node:path';
import ts from 'typescript';

/** Folders of `lib/`; each imports only from itself and from those before it. */
const LAYERS = ['protocol', 'registry', 'transport', 'routing', 'node', 'nest', 'cli', 'testing'];

/** Packages that only some layers may know. */
const OWNERS: readonly { packages: RegExp; layers: readonly string[] }[] = [
  { packages: /^ioredis(\/|$)/, layers: ['registry'] },
  { packages: /^(@nestjs|rxjs)(\/|$)/, layers: ['nest', 'testing'] },
];

// `lib/protocol` is bytes in, values out: whatever waits, listens or connects belongs elsewhere.
const IMPURE_MODULES =
  /^(node:)?(child_process|cluster|dgram|dns|fs|http|http2|https|net|timers|tls|worker_threads)(\/|$)/;
const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate']);

interface Source {
  imports: string[];
  identifiers: ReadonlySet<string>;
  exportsAll: boolean;
}

/**
 * Every breach of the rules, one sentence each; none means that the layers hold.
 *
 * @param files path from the repository's top, with forward slashes (`lib/node/mesh-node.ts`), to source text
 */
export function importFaults(files: ReadonlyMap<string, string>): string[] {
  const faults: string[] = [];
  const graph = new Map<string, string[]>();
  for (const [path, text] of files) {
    const source = scan(path, text);
    const targets: string[] = [];
    for (const specifier of source.imports) {
      const target = specifier.startsWith('.') ? resolve(path, specifier) : undefined;
      if (target === undefined) faults.push(...packageFaults(path, specifier));
      else if (!files.has(target)) faults.push(`${path} imports ${specifier}, which is not there`);
      else {
        targets.push(target);
        faults.push(...directionFaults(path, target));
      }
    }
    graph.set(path, targets);
    faults.push(...placeFaults(path), ...contentFaults(path, source));
  }
  return [...faults, ...cycles(graph).map((cycle) => `cycle: ${cycle.join(' -> ')}`)];
}

function scan(path: string, text: string): Source {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
  const identifiers = new Set<string>();
  let exportsAll = false;
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) identifiers.add(node.text);
    if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      exportsAll ||= node.exportClause === undefined || ts.isNamespaceExport(node.exportClause);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  // Also finds `export … from`, `import()` and `import type`: a cycle of types confuses its reader just as well.
  const imports = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  return { imports, identifiers, exportsAll };
}

function resolve(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

/** The layer of a file, or `undefined` for one that lies beside the folders. */
function layerOf(path: string): string | undefined {
  return /^lib\/([^/]+)\//.exec(path)?.[1];
}

function placeFaults(path: string): string[] {
  const layer = layerOf(path);
  if (path === 'lib/index.ts' || (layer !== undefined && LAYERS.includes(layer))) return [];
  return [`${path} is in no layer (${LAYERS.join(', ')})`];
}

function directionFaults(path: string, target: string): string[] {
  const from = layerOf(path);
  const to = layerOf(target);
  if (path === 'lib/index.ts') {
    return to === 'testing' ? [`${path} imports ${target}: tests get it from nestjs-mesh/testing`] : [];
  }
  if (from === undefined || to === undefined) return [`${path} imports ${target}, which is above all layers`];
  return LAYERS.indexOf(from) >= LAYERS.indexOf(to)
    ? []
    : [`${path} imports ${target}: ${from} is below ${to}`];
}

function packageFaults(path: string, specifier: string): string[] {
  const layer = layerOf(path);
  const faults = OWNERS.filter(
    ({ packages, layers }) => packages.test(specifier) && !layers.some((owner) => owner === layer),
  ).map(({ layers }) => `${path} imports ${specifier}, which only lib/${layers.join(' and lib/')} may`);
  if (layer === 'protocol' && IMPURE_MODULES.test(specifier)) {
    faults.push(`${path} imports ${specifier}: lib/protocol has no sockets, files or timers`);
  }
  return faults;
}

function contentFaults(path: string, { identifiers, exportsAll }: Source): string[] {
  const faults: string[] = [];
  if (exportsAll) faults.push(`${path} says "export *"; public names are listed one by one`);
  if (identifiers.has('console'))
    faults.push(`${path} uses console; a library logs through its user's logger`);
  if (layerOf(path) === 'protocol') {
    for (const name of TIMERS) {
      if (identifiers.has(name)) faults.push(`${path} uses ${name}: lib/protocol has no timers`);
    }
  }
  return faults;
}

/** One cycle for each import that closes one, found depth first. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    const start = trail.indexOf(path);
    if (start >= 0) found.push([...trail.slice(start), path]);
    if (start >= 0 || done.has(path)) return;
    trail.push(path);
    for (const target of graph.get(path) ?? []) visit(target);
    trail.pop();
    done.add(path);
  };
  for (const path of graph.keys()) visit(path);
  return found;
}
