/** What the specs of this folder share: each runs the short version of one row, with the assertions of the long one. */
import { afterAll, beforeAll, expect } from '@jest/globals';
import { resolve } from 'node:path';
import { loadScript } from '../tooling/load-script.js';
import { runRow, type Outcome, type Row } from './row.js';

const ROOT = resolve(import.meta.dirname, '../..');
/** Processes of two languages have to start, on a machine with other work. */
export const LIMIT_MS = 120_000;

interface Compiled {
  readonly folder: string;
  remove(): void;
}

const { compilePrograms } = await loadScript<{ compilePrograms(): Promise<Compiled> }>('compile-programs');

/** Compiles the programs for the specs of a file; gives the way to run a row. */
export function useChaos(): (row: Row) => Promise<Outcome> {
  let compiled: Compiled;
  beforeAll(async () => {
    compiled = await compilePrograms();
  }, LIMIT_MS);
  afterAll(() => compiled.remove());
  return (row) => runRow(row, { root: ROOT, compiled: compiled.folder }, false);
}

/** Fails with what was counted for each promise that is not met. */
export function expectMet({ checks, failed, calls }: Outcome): void {
  expect({
    unmet: checks.filter(({ met }) => !met),
    failed: checks.every(({ met }) => met) ? {} : failed,
  }).toEqual({
    unmet: [],
    failed: {},
  });
  expect(calls).toBeGreaterThan(100);
}
