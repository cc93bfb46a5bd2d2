/** The numbers of docs/benchmarks.md are those of bench/results.json, bench/micro.json and bench/profile.json. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { MicroResults } from '../../bench/src/micro/results.js';
import type { Profile } from '../../bench/src/profile/results.js';
import { fillMarkers, markdownTable } from '../../bench/src/report/markdown.js';
import { pageParts } from '../../bench/src/report/page.js';
import { ratioOf, type CaseResult, type Result, type Results } from '../../bench/src/report/results.js';
import { caseTable } from '../../bench/src/report/table.js';

const ROOT = join(import.meta.dirname, '..', '..');
const page = readFileSync(join(ROOT, 'docs', 'benchmarks.md'), 'utf8');
const kept = (file: string): unknown => JSON.parse(readFileSync(join(ROOT, 'bench', file), 'utf8'));
const results = kept('results.json') as Results;
const micro = kept('micro.json') as MicroResults;
const profile = kept('profile.json') as Profile;

const result = (peer: string, ...values: number[]): Result => ({
  peer,
  rounds: values.map((value) => ({ value })),
});

describe('docs/benchmarks.md', () => {
  it('is what "npm run bench -- --report" makes of the JSON files', () => {
    expect(fillMarkers(page, pageParts(results, micro, profile))).toBe(page);
  });

  it('shows plots that are there', () => {
    const plots = [...page.matchAll(/\]\((benchmarks\/[\w-]+\.svg)\)/g)].map(([, file = '']) => file);
    expect(plots.length).toBeGreaterThan(0);
    expect(plots.filter((file) => !existsSync(join(ROOT, 'docs', file)))).toEqual([]);
  });
});

describe('The results', () => {
  it('have at least five rounds of every measurement, and none that failed', () => {
    const all = results.cases.flatMap(({ group, results: each }) => each.map((one) => ({ ...one, group })));
    expect(all.filter(({ failed }) => failed !== undefined)).toEqual([]);
    // New processes, or hundreds of them, for every round: three, whose values lie close together.
    const least = (group: string): number => (['memory', 'cold-start'].includes(group) ? 3 : 5);
    expect(
      all.filter(({ group, rounds, unable }) => unable === undefined && rounds.length < least(group)),
    ).toEqual([]);
  });
});

describe('The report', () => {
  it('takes a ratio round by round, so that a slow moment of the machine does not count', () => {
    // Half as fast for two rounds, both of them: the ratio stays.
    const ratio = ratioOf(result('a', 200, 100, 100), result('b', 100, 50, 50));
    expect(ratio).toEqual({ median: 2, min: 2, max: 2 });
  });

  it('says in words what a peer cannot do, and what broke', () => {
    const measured: CaseResult = {
      ...{ date: '2026-01-01', name: 'n', title: 'T', group: 'calls', unit: 'calls/s', better: 'more' },
      baseline: 'a',
      results: [
        result('a', 1_000, 3_000, 2_000),
        { ...result('b'), unable: 'has no events' },
        { ...result('c'), failed: 'no answer\n    at somewhere' },
      ],
    };
    const lines = caseTable(measured, new Map([['a', 'Peer A']])).split('\n');
    expect(lines[2]).toMatch(/^Peer A +2,000 +1,000 … 3,000 +1\.00/);
    expect(lines[3]).toMatch(/^b +has no events$/);
    expect(lines[4]).toMatch(/^c +FAILED: no answer$/);
  });

  it('refuses a page without a place for a part, or with a place for none', () => {
    const place = '<!-- results: calls -->\n<!-- end of calls -->';
    expect(fillMarkers(place, new Map([['calls', 'text']]))).toContain('\n\ntext\n\n<!-- end of calls -->');
    expect(() => fillMarkers('', new Map([['calls', 'text']]))).toThrow('no place for calls');
    expect(() => fillMarkers(place, new Map())).toThrow('nothing is known of the part "calls"');
  });

  it('writes tables as Prettier does', () => {
    const table = markdownTable(
      [
        ['peer', 'calls'],
        ['mesh', '1'],
      ],
      [0],
    );
    expect(table).toBe('| peer | calls |\n| ---- | ----: |\n| mesh |     1 |');
  });
});
