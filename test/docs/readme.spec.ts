/** What README and CONTRIBUTING show is compiled and run as a user would, against a real Redis, and prints what they say. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshClientProxy, type PickerFactory } from '../../lib/index.js';
import { candidate } from '../support/candidates.js';
import { RedisServer } from '../support/redis-server.js';
import { python } from './python.js';
import { ROOT, SnippetProject, type Running } from './snippet-project.js';
import { snippetsOf, type Snippet } from './snippets.js';

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const WRITTEN_URL = 'redis://localhost:6379';
const COMPILE_LIMIT_MS = 120_000;

const snippets = snippetsOf(README);
const CONTRIBUTING = snippetsOf(readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8'));
const programs = snippets.filter(({ language }) => language === 'ts' || language === 'python');

let redis: RedisServer;
let project: SnippetProject;

/** The only thing that is rewritten: where Redis is. */
const here = (code: string): string => code.replaceAll(WRITTEN_URL, redis.url);

function fileOf({ marks, line }: Snippet): string {
  const { file } = marks;
  if (file === undefined) throw new Error(`line ${line}: a snippet without file=NAME cannot be run`);
  return file;
}

/** The output that the README promises for a file. */
function promisedOutput(file: string): string | undefined {
  return snippets.find(({ marks }) => marks['output'] === file)?.code;
}

function run(file: string): Running {
  if (!file.endsWith('.py')) return project.start(process.execPath, [file.replace(/\.ts$/, '.js')]);
  return project.start(python(), [file], { PYTHONPATH: join(ROOT, 'sample-app', 'python-peer') });
}

describe('the README and CONTRIBUTING', () => {
  beforeAll(async () => {
    redis = await RedisServer.start();
    project = SnippetProject.create();
    const shown = [...programs, ...CONTRIBUTING.filter(({ language }) => language === 'ts')];
    const files = Object.fromEntries(shown.map((snippet) => [fileOf(snippet), here(snippet.code)]));
    project.add(files);
    project.addTypeScript(Object.fromEntries(Object.entries(files).filter(([name]) => name.endsWith('.ts'))));
    // A service that others of the snippets call.
    for (const name of new Set(programs.flatMap(({ marks }) => marks['with'] ?? []))) run(name);
  }, COMPILE_LIMIT_MS);

  afterAll(async () => {
    await project.close();
    await redis.stop();
  });

  it('names a file for every TypeScript and Python snippet, and says what each prints that is not a service', () => {
    const silent = programs.map(fileOf).filter((file) => promisedOutput(file) === undefined);
    expect(silent).toEqual(['orders.ts', 'billing.py']);
  });

  it.each(snippets.flatMap(({ marks }) => marks['output'] ?? []))('says what %s prints', async (file) => {
    const promised = promisedOutput(file) ?? '';
    const program = run(file);
    await program.says(promised.trimEnd());
    // A service does not end by itself; what ends does so in order.
    if (program.process.exitCode === null) program.process.kill('SIGTERM');
    await program.ended();
    expect(program.output()).toBe(promised);
  });

  it('shows a Python peer that calls a Nest service and answers one', async () => {
    const billing = run('billing.py');
    await billing.says('42\n');
    const client = new MeshClientProxy({ service: 'test', registry: redis.url });
    try {
      await expect(client.to('billing').call('billing.tax', 200)).resolves.toBe(38);
    } finally {
      await client.close();
    }
    expect(billing.output()).toBe('42\n');
  });

  it('shows a picker that picks', async () => {
    const file = join(project.folder, 'random-picker.js');
    const { randomPicker } = (await import(file)) as { randomPicker: PickerFactory };
    const nodes = [candidate('a'), candidate('b')];
    expect(nodes).toContain(randomPicker(nodes, undefined).pick({}));
    expect(randomPicker([], undefined).pick({})).toBeUndefined();
  });
});
