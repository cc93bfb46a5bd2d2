/** What a message of 64 MB costs each side, in a process of its own: a small multiple of itself, and no small call. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, SnippetProject } from '../docs/snippet-project.js';

const MB = 1 << 20;
const LARGE_BYTES = 64 * MB;
const SMALL_CALLS = 1_000;
const PROGRAM = 'memory-program.mjs';

let project: SnippetProject;

beforeAll(() => {
  project = SnippetProject.create();
  project.add({ [PROGRAM]: readFileSync(join(ROOT, 'test', 'support', PROGRAM), 'utf8') });
});

afterAll(() => project.close());

interface Outcome {
  /** Of the text that came back. */
  readonly length: number;
  readonly answered: number;
  /** Small calls that were answered before the large one. */
  readonly before: number;
  readonly channels: number;
  /** The most memory that each process ever had, in bytes. */
  readonly caller: number;
  readonly callee: number;
}

async function exchange(bytes: number): Promise<Outcome> {
  const registry = `file:${join(project.folder, `registry-${bytes}`)}`;
  const callee = project.start(process.execPath, [PROGRAM, 'serve', registry]);
  try {
    await callee.says('ready');
    const args = [PROGRAM, 'call', registry, String(bytes), String(SMALL_CALLS)];
    const caller = project.start(process.execPath, args);
    expect({ code: await caller.ended(), output: caller.output() }).toMatchObject({ code: 0 });
    return JSON.parse(caller.output()) as Outcome;
  } finally {
    callee.process.kill('SIGKILL');
    await callee.ended();
  }
}

/** 5.9 (caller) and 5.3 (callee) were measured: bytes, text and value of what comes, and what is sent; the rest is room. */
const MULTIPLE = 9;

it(`64 MB there and back take ${MULTIPLE} times as much at most on either side, and small calls pass them by`, async () => {
  const small = await exchange(100);
  const large = await exchange(LARGE_BYTES);
  expect(large).toMatchObject({ length: LARGE_BYTES, answered: SMALL_CALLS, channels: 1 });
  // Each is made when the one before it was answered: behind the large one, the first would come after it.
  expect(large.before).toBeGreaterThan(SMALL_CALLS / 10);
  expect(large.caller - small.caller).toBeLessThan(MULTIPLE * LARGE_BYTES);
  expect(large.callee - small.callee).toBeLessThan(MULTIPLE * LARGE_BYTES);
}, 120_000);
