/** Reads Dockerfiles and .dockerignore files, as far as the ones of this repository go. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A `COPY` of files: from the build context, or from an earlier stage. */
export interface Copy {
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

/** One stage, from `FROM` on. */
export interface Stage {
  readonly image: string;
  readonly name: string | undefined;
  readonly copies: readonly Copy[];
  readonly user: string | undefined;
  readonly ports: readonly number[];
  readonly command: readonly string[];
  readonly runs: readonly string[];
}

/** The stages of a Dockerfile. Throws at an instruction that it does not know, so that none goes unchecked. */
export function readDockerfile(file: string): Stage[] {
  const text = readFileSync(file, 'utf8')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ');
  const stages: { -readonly [Key in keyof Stage]: Stage[Key] }[] = [];
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const [, word = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    if (word === 'FROM') {
      const [image = '', , name] = rest.split(/\s+/);
      stages.push({ image, name, copies: [], user: undefined, ports: [], command: [], runs: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined) throw new Error(`${file}: "${line}" stands before FROM`);
    if (word === 'COPY') stage.copies = [...stage.copies, readCopy(rest)];
    else if (word === 'USER') stage.user = rest;
    else if (word === 'EXPOSE') stage.ports = rest.split(/\s+/).map(Number);
    else if (word === 'CMD') stage.command = JSON.parse(rest) as string[];
    else if (word === 'RUN') stage.runs = [...stage.runs, rest];
    else if (word !== 'ENV' && word !== 'WORKDIR') throw new Error(`${file}: ${word} is not checked yet`);
  }
  return stages;
}

function readCopy(rest: string): Copy {
  const words = rest.split(/\s+/);
  const from = words[0]?.startsWith('--from=') === true ? words.shift()?.slice('--from='.length) : undefined;
  return { from, sources: words.slice(0, -1), target: words.at(-1) ?? '' };
}

/** True when a file of the context reaches the build: it is there, and .dockerignore does not hold it back. */
export function reachesBuild(context: string, path: string): boolean {
  if (!existsSync(join(context, path))) return false;
  const lines = readFileSync(join(context, '.dockerignore'), 'utf8').split('\n');
  const rules = lines.filter((line) => line !== '' && !line.startsWith('#'));
  // The last rule that fits decides.
  const last = rules.findLast((rule) => fits(path, rule.replace(/^!/, '')));
  return last === undefined || last.startsWith('!');
}

/** A rule fits a path that it names, and everything below. */
function fits(path: string, rule: string): boolean {
  if (rule === '*') return true;
  if (rule.startsWith('**/')) return path.split('/').includes(rule.slice(3));
  if (/[*?[\]]/.test(rule)) throw new Error(`.dockerignore: "${rule}" is not understood here`);
  return path === rule || path.startsWith(`${rule}/`);
}
