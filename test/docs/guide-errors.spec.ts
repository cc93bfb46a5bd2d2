/** What the page about errors shows is compiled and run as a user would, and prints what the page says. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, SnippetProject } from './snippet-project.js';
import { snippetsOf } from './snippets.js';

const COMPILE_LIMIT_MS = 120_000;
const snippets = snippetsOf(readFileSync(join(ROOT, 'docs', 'guide', 'errors.md'), 'utf8'));
const codeOf = (mark: string): string =>
  snippets.find(({ marks }) => marks[mark] === 'errors.ts')?.code ?? '';

describe('the page about errors', () => {
  let project: SnippetProject;
  beforeAll(() => {
    project = SnippetProject.create();
    project.addTypeScript({ 'errors.ts': codeOf('file') });
  }, COMPILE_LIMIT_MS);
  afterAll(() => project.close());

  it('shows a pair of filters that prints what the page promises, and ends', async () => {
    const program = project.start(process.execPath, ['errors.js']);
    const code = await program.ended();
    expect(program.output()).toBe(codeOf('output'));
    expect(code).toBe(0);
  });
});
