/** Markdown as Prettier writes it, so that a generated page passes its check. */

/** A table; the first and the last column are text, the others numbers to the right. */
export function markdownTable(rows: readonly (readonly string[])[], textColumns: readonly number[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(4, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const isText = (column: number): boolean => textColumns.includes(column);
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (isText(column) ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  const [heading = [], ...rest] = rows;
  return [line(heading), rule, ...rest.map(line)].join('\n');
}

/** Replaces what stands between the markers of each part. Throws when a part has no markers, or markers no part. */
export function fillMarkers(page: string, parts: ReadonlyMap<string, string>): string {
  const unused = new Set(parts.keys());
  const filled = page.replaceAll(
    /(<!-- results: ([\w-]+) -->\n).*?(<!-- end of ([\w-]+) -->)/gs,
    (_all, open: string, name: string, close: string, end: string) => {
      if (end !== name) throw new Error(`the part "${name}" ends as "${end}"`);
      const part = parts.get(name);
      if (part === undefined) throw new Error(`nothing is known of the part "${name}"`);
      unused.delete(name);
      return `${open}\n${part}\n\n${close}`;
    },
  );
  if (unused.size > 0) throw new Error(`the page has no place for ${[...unused].join(', ')}`);
  return filled;
}
