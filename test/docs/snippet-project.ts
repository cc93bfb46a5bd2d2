/** A folder in which snippets are a user's project: the library is built into its `node_modules`, and `node` runs them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** A program that was started; its output so far. */
export interface Running {
  readonly process: ChildProcess;
  output(): string;
  /** Resolves when the output contains `text`; rejects with the output when the program ends before. */
  says(text: string): Promise<void>;
  /** Resolves with the exit code. */
  ended(): Promise<number | null>;
}

export class SnippetProject {
  private readonly started = new Set<Running>();

  private constructor(readonly folder: string) {}

  /** Compiles `lib/` into the package that the snippets import. */
  static create(): SnippetProject {
    const cache = join(ROOT, '.cache');
    mkdirSync(cache, { recursive: true });
    const project = new SnippetProject(mkdtempSync(join(cache, 'docs-')));
    const installed = join(project.folder, 'node_modules', 'nestjs-mesh');
    mkdirSync(installed, { recursive: true });
    cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
    writeFileSync(join(project.folder, 'package.json'), '{ "type": "module" }');
    for (const file of readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const target = join(installed, 'dist', file.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, transpile(readFileSync(join(ROOT, 'lib', file), 'utf8'), file));
    }
    return project;
  }

  /** Type-checks the files strictly, then compiles them beside themselves. Throws with what the compiler says. */
  addTypeScript(files: Readonly<Record<string, string>>): void {
    this.add(files);
    const names = Object.keys(files).map((name) => join(this.folder, name));
    // The types are those of the sources: that the built package has the same is for `npm run check:package`.
    const program = ts.createProgram(names, {
      ...COMPILER_OPTIONS,
      typeRoots: [join(ROOT, 'node_modules', '@types')],
      paths: {
        'nestjs-mesh': [join(ROOT, 'lib', 'index.ts')],
        'nestjs-mesh/testing': [join(ROOT, 'lib', 'testing', 'index.ts')],
      },
    });
    const faults = names.flatMap((name) => {
      const source = program.getSourceFile(name);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    });
    if (faults.length > 0) throw new Error(ts.formatDiagnostics(faults, FORMAT));
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(this.folder, name.replace(/\.ts$/, '.js')), transpile(text, name));
  }

  add(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }

  /** Starts a program in the folder. */
  start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    const child = spawn(command, [...args], {
      cwd: this.folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const listeners = new Set<() => void>();
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
      for (const listener of listeners) listener();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const end = once(child, 'close').then(([code]) => code as number | null);
    const running: Running = {
      process: child,
      output: () => output,
      says: (text) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            if (!output.includes(text)) return;
            listeners.delete(look);
            resolve();
          };
          listeners.add(look);
          look();
          void end.then(
            () => reject(new Error(`${command} ended without saying ${text}:\n${output}`)),
            reject,
          );
        }),
      ended: () => end,
    };
    this.started.add(running);
    return running;
  }

  /** Ends what was started and removes the folder. */
  async close(): Promise<void> {
    await Promise.all([...this.started].map((running) => stop(running)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const COMPILER_OPTIONS: ts.CompilerOptions = readCompilerOptions();

function readCompilerOptions(): ts.CompilerOptions {
  const read = (path: string): string => readFileSync(path, 'utf8');
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), read) as {
    config: { compilerOptions: object };
  };
  return ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT).options;
}

function transpile(text: string, fileName: string): string {
  const compilerOptions = { ...COMPILER_OPTIONS, noEmit: false, module: ts.ModuleKind.ES2022 };
  return ts.transpileModule(text, { fileName, compilerOptions }).outputText;
}

const FORMAT: ts.FormatDiagnosticsHost = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => ROOT,
  getNewLine: () => '\n',
};

const STOP_LIMIT_MS = 5_000;

async function stop(running: Running): Promise<void> {
  const { process: child } = running;
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    await running.ended();
    clearTimeout(timer);
  }
}
