/** Reads the code blocks of a Markdown file: ```` ```ts file=orders.ts with=other.ts ````. */

/** A fenced code block. */
export interface Snippet {
  readonly language: string;
  /** `key=value` words behind the language. */
  readonly marks: Readonly<Record<string, string>>;
  readonly code: string;
  /** The line of the fence, from 1. */
  readonly line: number;
}

/** All fenced code blocks, in order. */
export function snippetsOf(markdown: string): Snippet[] {
  const snippets: Snippet[] = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const fence = /^```(\S*)\s*(.*)$/.exec(lines[at] ?? '');
    if (fence === null) continue;
    const begin = at;
    const code: string[] = [];
    for (at += 1; at < lines.length && lines[at] !== '```'; at += 1) code.push(lines[at] ?? '');
    const marks = Object.fromEntries(
      [...(fence[2] ?? '').matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [key, value]),
    ) as Record<string, string>;
    snippets.push({ language: fence[1] ?? '', marks, code: `${code.join('\n')}\n`, line: begin + 1 });
  }
  return snippets;
}
