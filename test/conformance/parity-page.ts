/** `docs/parity.md`: the conformance table for readers. */
import { isSame, type Absent, type Finding, type Row, type Section } from './row.js';

const HEAD = `# Parity with Nest's TCP transport

What a service or a caller sees over the mesh, beside Nest's own TCP transport (\`@nestjs/microservices\` 12.1). Each row is a
test that runs on both and compares what is seen to the letter: over the mesh in clear, with TLS, through a real Redis,
and in MessagePack. A row in which they differ is proved on both sides, too; where a side has nothing to observe, it is in italics.

This page is made from the table in \`test/conformance\`: \`UPDATE_PARITY=1 npm test -- test/conformance/parity\` writes it.
`;

/** The whole page. */
export function parityPage(table: readonly Section[]): string {
  const rows = table.flatMap((section) => section.rows);
  const same = rows.filter(isSame).length;
  const count = `${rows.length} behaviours: ${same} are the same, ${rows.length - same} differ, and each of these says why.\n`;
  // Prettier would pad every cell to the longest one of its column.
  return [
    HEAD,
    count,
    '<!-- prettier-ignore-start -->\n',
    ...table.map(sectionOf),
    '<!-- prettier-ignore-end -->\n',
  ].join('\n');
}

function sectionOf({ title, rows }: Section): string {
  const lines = [
    '| behaviour | Nest TCP | mesh | why they differ |',
    '| --- | --- | --- | --- |',
    ...rows.map(lineOf),
  ];
  return `## ${title}\n\n${lines.join('\n')}\n`;
}

function lineOf(row: Row): string {
  const cells = isSame(row)
    ? [row.title, 'yes', `yes${saidPacked(row)}`, '']
    : [row.title, said(row.tcp), `${said(row.mesh)}${saidPacked(row)}`, row.why];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function saidPacked({ packed }: Row): string {
  return packed === undefined ? '' : `; in MessagePack ${packed.says}`;
}

function said(finding: Finding | Absent): string {
  return 'none' in finding ? `_${finding.none}_` : finding.says;
}
