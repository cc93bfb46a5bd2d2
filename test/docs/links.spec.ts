/** Links in the documentation lead somewhere, and stay within the repository. */
import { describe, expect, it } from '@jest/globals';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './snippet-project.js';

const ADR = join('docs', 'adr');
const GUIDE = join('docs', 'guide');
const DOCS = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  join('docs', 'protocol.md'),
  join('docs', 'configuration.md'),
  join('docs', 'parity.md'),
  join('docs', 'scaling.md'),
  ...readdirSync(join(ROOT, ADR)).map((file) => join(ADR, file)),
  ...readdirSync(join(ROOT, GUIDE)).map((file) => join(GUIDE, file)),
];
const CONTRIBUTING_LINES = 100;
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** The text without code blocks: what looks like a link there is none. */
const prose = (file: string): string => read(file).replaceAll(/^```[\s\S]*?^```$/gm, '');

/** The anchors that a Markdown file offers, by the rules of GitHub. */
function anchorsOf(file: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of prose(file).matchAll(/^#+ (.+)$/gm)) {
    const base = (heading ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = base;
    for (let n = 1; anchors.has(anchor); n += 1) anchor = `${base}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function faultOf(file: string, link: string): string[] {
  if (/^[a-z]+:/i.test(link)) return [`${file}: ${link} leaves the repository`];
  const [path = '', anchor] = link.split('#', 2);
  const target = path === '' ? file : join(dirname(file), path);
  if (!existsSync(join(ROOT, target))) return [`${file}: there is no ${target}`];
  if (anchor === undefined || statSync(join(ROOT, target)).isDirectory()) return [];
  return anchorsOf(target).has(anchor) ? [] : [`${file}: ${target} has no heading #${anchor}`];
}

describe('the documentation', () => {
  it.each(DOCS)('has only links that lead somewhere in %s', (file) => {
    const links = [...prose(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '');
    expect(links.flatMap((link) => faultOf(file, link))).toEqual([]);
  });

  it('lists every page of the guide in its table', () => {
    const table = read(join(GUIDE, 'README.md'));
    const pages = readdirSync(join(ROOT, GUIDE)).filter((file) => file !== 'README.md');
    expect(pages.filter((file) => !table.includes(`](${file})`))).toEqual([]);
  });

  it('numbers its decisions without a gap, each with context, decision, consequences and what would change it', () => {
    const files = readdirSync(join(ROOT, ADR)).sort();
    expect(files.map((file) => Number(file.slice(0, 4)))).toEqual(files.map((_, at) => at + 1));
    for (const file of files) {
      const headings = [...read(join(ADR, file)).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
      expect(headings).toEqual(['Context', 'Decision', 'Consequences', 'What would change our mind']);
    }
  });

  it('can be contributed to after less than a hundred lines', () => {
    expect(read('CONTRIBUTING.md').split('\n').length).toBeLessThanOrEqual(CONTRIBUTING_LINES);
  });

  it('names files of the repository that exist', () => {
    const named = DOCS.flatMap((file) =>
      [...prose(file).matchAll(/`((?:lib|test|docs|scripts|sample-app)\/[\w./-]*[\w/])`/g)].map(
        ([, path]) => path ?? '',
      ),
    );
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
