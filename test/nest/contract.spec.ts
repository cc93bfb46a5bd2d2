/** Contracts: what the compiler makes of them, and that the patterns which they name are those of the wire. */
import { describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { Ctx, Payload } from '@nestjs/microservices';
import { from, lastValueFrom, of, toArray, type Observable } from 'rxjs';
import { join } from 'node:path';
import ts from 'typescript';
import { meshPatterns, MeshRecordBuilder, type MeshChannel, type MeshPattern } from '../../lib/index.js';
import type { MeshClientProxy, MeshContext } from '../../lib/index.js';
import { until, useBench } from './nest-fixture.js';

const ROOT = join(import.meta.dirname, '..', '..');
const TYPES = join(import.meta.dirname, 'contract-types.ts');
const MADE = join(import.meta.dirname, 'contract-made.ts');
const COMPILE_LIMIT_MS = 120_000;

/** The program of `files`, some of which may be given as text. Checked as a strict user would. */
function programOf(files: readonly string[], texts: ReadonlyMap<string, string> = new Map()): ts.Program {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    experimentalDecorators: true,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules', '@types')],
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => texts.get(name) ?? readFile.call(host, name);
  host.fileExists = (name) => texts.has(name) || fileExists.call(host, name);
  host.getSourceFile = (name, ...rest) => {
    const text = texts.get(name);
    if (text === undefined) return getSourceFile.call(host, name, ...rest);
    return ts.createSourceFile(name, text, ts.ScriptTarget.ES2023);
  };
  return ts.createProgram(files, options, host);
}

function faultsOf(program: ts.Program, file: string): string[] {
  const source = program.getSourceFile(file);
  return program.getSemanticDiagnostics(source).map(({ messageText, start = 0 }) => {
    const line = source === undefined ? 0 : source.getLineAndCharacterOfPosition(start).line + 1;
    return `${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

/** A client with a contract of so many calls, each of which is used once. */
function manyCalls(count: number): string {
  const numbers = Array.from({ length: count }, (_, n) => n);
  return [
    `import type { MeshClientProxy } from '../../lib/index.js';`,
    `interface Big { calls: {`,
    ...numbers.map((n) => `  'call.${n}': { request: { id${n}: string }; response: { at${n}: number } };`),
    `} }`,
    `declare const client: MeshClientProxy<Big>;`,
    ...numbers.map((n) => `void client.call('call.${n}', { id${n}: '' }).then((got) => got.at${n} + 1);`),
  ].join('\n');
}

describe('A contract, to the compiler', () => {
  it(
    'lets through and refuses what contract-types.ts says, line by line',
    () => {
      // A `@ts-expect-error` without an error is itself one.
      expect(faultsOf(programOf([TYPES]), TYPES)).toEqual([]);
    },
    COMPILE_LIMIT_MS,
  );

  it(
    'names the patterns that there are to who uses another one',
    () => {
      const text = [
        `import type { MeshClientProxy } from '../../lib/index.js';`,
        `declare const client: MeshClientProxy<{ calls: { get: { request: string }; put: { request: string } } }>;`,
        `client.send('got', '7');`,
      ].join('\n');
      const [fault, ...others] = faultsOf(programOf([MADE], new Map([[MADE, text]])), MADE);
      expect(others).toEqual([]);
      expect(fault).toContain(`'"got"' is not assignable to parameter of type '"get" | "put"'`);
    },
    COMPILE_LIMIT_MS,
  );

  it(
    'costs the compiler no more than in proportion to its calls',
    () => {
      const costOf = (count: number): number => {
        const program = programOf([MADE], new Map([[MADE, manyCalls(count)]]));
        expect(faultsOf(program, MADE)).toEqual([]);
        return program.getInstantiationCount();
      };
      const [none, some, many] = [costOf(0), costOf(50), costOf(400)];
      expect(many - none).toBeLessThan(16 * (some - none));
    },
    COMPILE_LIMIT_MS,
  );
});

interface Order {
  id: string;
  caller: string;
}

interface ShopContract {
  calls: {
    'orders.get': { request: string; response: Order };
    'orders.watch': { request: number; stream: number };
    'orders.import': { input: string; response: number };
    total: MeshPattern<{ cmd: 'total' }, { request: number[]; response: number }>;
  };
  events: { 'order.paid': { id: string } };
  channels: { default: { in: string; out: number } };
}

const shop = meshPatterns<ShopContract>();
const paid: string[] = [];

@Controller()
class ShopController {
  @shop.call('orders.get')
  get(@Payload() id: string, @Ctx() context: MeshContext): Order {
    return { id, caller: context.peer.service };
  }

  @shop.call('orders.watch')
  async *watch(count: number): AsyncGenerator<number> {
    for (let n = 1; n <= count; n += 1) yield n;
  }

  @shop.call('orders.import')
  async import(rows: AsyncIterable<string>): Promise<number> {
    let count = 0;
    for await (const _ of rows) count += 1;
    return count;
  }

  @shop.call({ cmd: 'total' })
  total(prices: number[]): Observable<number> {
    return of(prices.reduce((sum, price) => sum + price));
  }

  @shop.event('order.paid')
  paid({ id }: { id: string }): void {
    paid.push(id);
  }

  @shop.channel('default')
  async lengths(channel: MeshChannel<string, number>): Promise<void> {
    for await (const text of channel) await channel.send(text.length);
  }
}

describe('A client and a controller of one contract', () => {
  const bench = useBench();
  const start = async (): Promise<MeshClientProxy<ShopContract>> =>
    (await bench.start({ controllers: [ShopController] })).client;

  it('understand each other in calls, streams both ways, object patterns and records', async () => {
    const client = await start();
    await expect(client.call('orders.get', '7')).resolves.toEqual({ id: '7', caller: 'caller' });
    const record = new MeshRecordBuilder().setData('8').setTimeout(5_000).build();
    await expect(client.call('orders.get', record)).resolves.toMatchObject({ id: '8' });
    await expect(client.call({ cmd: 'total' }, [2, 40])).resolves.toBe(42);
    await expect(client.call('orders.import', from(['a', 'b']))).resolves.toBe(2);
    const watched: number[] = [];
    for await (const order of client.stream('orders.watch', 3)) watched.push(order);
    expect(watched).toEqual([1, 2, 3]);
    await expect(lastValueFrom(client.send('orders.watch', 2).pipe(toArray()))).resolves.toEqual([1, 2]);
  });

  it('understand each other in events', async () => {
    paid.splice(0);
    const client = await start();
    client.emit('order.paid', { id: '7' });
    await expect(client.broadcast('order.paid', { id: '8' })).resolves.toHaveLength(1);
    await until(() => paid.length === 2, 'both events arrive');
    expect(paid.toSorted()).toEqual(['7', '8']);
  });

  it('mean the same channel by no name and by the name "default"', async () => {
    const client = await start();
    for (const channel of [await client.channel(), await client.channel('default')]) {
      await channel.send('four');
      channel.end();
      const lengths: number[] = [];
      for await (const length of channel) lengths.push(length);
      expect(lengths).toEqual([4]);
    }
  });
});
