/** Every page of the guide shows programs that compile and run as a user would run them, and print what the page says. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { python } from './python.js';
import { ROOT, SnippetProject, type Running } from './snippet-project.js';
import { snippetsOf, type Snippet } from './snippets.js';

const GUIDE = join(ROOT, 'docs', 'guide');
const COMPILE_LIMIT_MS = 180_000;
const RUN_LIMIT_MS = 60_000;
/** The only thing that is rewritten: where nodes of several processes find each other. */
const WRITTEN_REGISTRY = 'file:/tmp/mesh-guide';

interface Page {
  readonly name: string;
  readonly snippets: readonly Snippet[];
}

const pages: Page[] = readdirSync(GUIDE)
  .filter((file) => file.endsWith('.md'))
  .map((file) => ({
    name: file.replace(/\.md$/, ''),
    snippets: snippetsOf(readFileSync(join(GUIDE, file), 'utf8')),
  }));

const isProgram = ({ language }: Snippet): boolean => language === 'ts' || language === 'python';
const programsOf = (page: Page): readonly Snippet[] => page.snippets.filter(isProgram);

/** Files that a page imports from, or that another program of it needs as a service. */
function partsOf(page: Page): Set<string> {
  const imported = programsOf(page).flatMap(({ code }) =>
    [...code.matchAll(/from '\.\/([\w-]+)\.js'/g)].map(([, name]) => `${name}.ts`),
  );
  return new Set([...imported, ...programsOf(page).flatMap(({ marks }) => servicesOf(marks))]);
}

function servicesOf(marks: Snippet['marks']): string[] {
  return marks['with']?.split(',') ?? [];
}

let project: SnippetProject;
let registries: string;

beforeAll(() => {
  registries = mkdtempSync(join(tmpdir(), 'mesh-guide-'));
  project = SnippetProject.create();
  const files = pages.flatMap((page) =>
    programsOf(page).map(({ code, marks }): [string, string] => [
      join(page.name, marks['file'] ?? ''),
      code.replaceAll(WRITTEN_REGISTRY, `file:${join(registries, page.name)}`),
    ]),
  );
  project.add(Object.fromEntries(files));
  project.addTypeScript(Object.fromEntries(files.filter(([name]) => name.endsWith('.ts'))));
}, COMPILE_LIMIT_MS);

afterAll(async () => {
  await project.close();
  rmSync(registries, { recursive: true, force: true });
});

function run(page: Page, file: string): Running {
  const path = join(page.name, file);
  if (!file.endsWith('.py')) return project.start(process.execPath, [path.replace(/\.ts$/, '.js')]);
  return project.start(python(), [path], { PYTHONPATH: join(ROOT, 'sample-app', 'python-peer') });
}

/** A service does not end by itself. */
async function end(running: Running): Promise<void> {
  if (running.process.exitCode === null) running.process.kill('SIGTERM');
  await running.ended();
}

describe.each(pages.filter((page) => programsOf(page).length > 0))('the page $name', (page) => {
  it('says of each program which file it is and what it prints', () => {
    expect(programsOf(page).filter(({ marks }) => marks['file'] === undefined)).toEqual([]);
    const promised = page.snippets.flatMap(({ marks }) => marks['output'] ?? []);
    const silent = programsOf(page).flatMap(({ marks }) => marks['file'] ?? []);
    const parts = partsOf(page);
    expect(silent.filter((file) => !promised.includes(file) && !parts.has(file))).toEqual([]);
    expect(promised.filter((file) => !silent.includes(file))).toEqual([]);
  });

  it.each(page.snippets.filter(({ marks }) => marks['output'] !== undefined))(
    'is right about what $marks.output prints',
    async ({ marks, code }) => {
      const file = marks['output'] ?? '';
      const shown = programsOf(page).find((snippet) => snippet.marks['file'] === file);
      const services = servicesOf(shown?.marks ?? {}).map((service) => run(page, service));
      const program = run(page, file);
      try {
        const exitCode = await program.ended();
        expect(program.output()).toBe(code);
        expect(exitCode).toBe(0);
      } finally {
        await Promise.all(services.map(end));
      }
    },
    RUN_LIMIT_MS,
  );
});
