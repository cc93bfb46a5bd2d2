/** The table itself, and the page that is made from it. */
import { describe, expect, it } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parityPage } from './parity-page.js';
import { isSame } from './row.js';
import { TABLE } from './table.js';

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'parity.md');
const UPDATE = 'UPDATE_PARITY=1 npm test -- test/conformance/parity';
const rows = TABLE.flatMap((section) => section.rows);

describe('the conformance table', () => {
  it('has one row for each id', () => {
    const ids = rows.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
  });

  it('explains every difference in a sentence, and calls nothing different that is the same', () => {
    for (const row of rows) {
      expect(row.title).toMatch(/^\S.*\.$/);
      if (isSame(row)) continue;
      expect(row.why).toMatch(/^\S.{20,}\.$/);
      const { tcp, mesh } = row;
      if ('none' in tcp) expect('none' in mesh).toBe(false);
      else if (!('none' in mesh))
        expect([row.id, isDeepStrictEqual(tcp.sees, mesh.sees)]).toEqual([row.id, false]);
    }
  });

  it('is what docs/parity.md shows', () => {
    const page = parityPage(TABLE);
    if (process.env['UPDATE_PARITY'] === '1') writeFileSync(PAGE, page);
    if (readFileSync(PAGE, 'utf8') === page) return;
    throw new Error(`docs/parity.md is not what the table gives; this writes it: ${UPDATE}`);
  });
});
