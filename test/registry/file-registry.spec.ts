/** The directory as a registry: its layout, other processes, and everything else that may lie in it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshError } from '../../lib/protocol/mesh-error.js';
import { compileRegistry, type CompiledRegistry } from './compiled-registry.js';
import { eventually, FAST, newRecord, pause, Registries, see } from './registry-fixture.js';

const registries = new Registries();
const { logger } = registries;
const processes: ChildProcess[] = [];
let compiled: CompiledRegistry;
let directory: string;
let url: string;

beforeAll(async () => {
  compiled = await compileRegistry();
});
afterAll(() => compiled.remove());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mesh-files-'));
  url = `file:${directory}`;
});
afterEach(async () => {
  await registries.closeAll();
  for (const child of processes.splice(0)) await kill(child);
  await chmod(directory, 0o700);
  await rm(directory, { recursive: true });
  logger.warnings.length = 0;
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Announces a node in a process of its own until it is killed. */
async function announceElsewhere(id: string): Promise<ChildProcess> {
  const script = `
    const [, , url, id, timings] = process.argv;
    const registry = openRegistry(url, { timings: JSON.parse(timings) });
    await registry.announce({ id, service: 'orders', host: '127.0.0.1', port: 4000, metadata: { pid: process.pid } });
  `;
  const child = await compiled.run(script, url, id, JSON.stringify(FAST));
  processes.push(child);
  return child;
}

describe('the layout', () => {
  it('is one file for each node: the record of the protocol and the end of its lease', async () => {
    const record = newRecord({ service: '@shop/orders+x', metadata: { zone: 'a' } });
    const announcement = await registries.open(url).announce(record);
    const folder = join(directory, '%40shop%2Forders%2Bx');
    expect(await readdir(directory)).toEqual(['%40shop%2Forders%2Bx']);
    expect(await readdir(folder)).toEqual([`${record.id}.json`]);
    const text = await readFile(join(folder, `${record.id}.json`), 'utf8');
    const { expires_at: expiresAt, ...rest } = JSON.parse(text) as Record<string, unknown>;
    expect(JSON.stringify(rest)).toBe(
      `{"id":"${record.id}","service_name":"@shop/orders+x","host":"127.0.0.1","port":4000,"metadata":{"zone":"a"}}`,
    );
    expect(Math.abs(Number(expiresAt) - (Date.now() + FAST.ttlMs))).toBeLessThan(500);
    await announcement.withdraw();
    expect(await readdir(folder)).toEqual([]);
  });

  it('is made where it is missing, below directories that are missing too', async () => {
    const record = newRecord();
    const deep = `file:${join(directory, 'a', 'b')}`;
    await registries.open(deep).announce(record);
    await see(registries.open(deep)).waitFor([record.id]);
  });

  it('is taken relative to the directory in which the process was when the registry was opened', async () => {
    const before = process.cwd();
    const record = newRecord();
    process.chdir(directory);
    const registry = registries.open('file:rel/dir');
    process.chdir(before);
    await registry.announce(record);
    expect(existsSync(join(directory, 'rel', 'dir', 'orders', `${record.id}.json`))).toBe(true);
  });
});

describe('other processes', () => {
  it('find each other, and a killed one disappears with its lease', async () => {
    const [here, there] = [newRecord(), randomUUID()];
    const registry = registries.open(url);
    await registry.announce(here);
    const seen = see(registry);
    const child = await announceElsewhere(there);
    await seen.waitFor([here.id, there], 5_000);
    const found = seen.nodes().find(({ id }) => id === there);
    expect(found).toEqual({ ...newRecord({ id: there }), metadata: { pid: child.pid } });
    await pause(2 * FAST.ttlMs);
    expect(seen.nodes()).toHaveLength(2);
    await kill(child);
    await seen.waitFor([here.id], FAST.ttlMs + 2 * FAST.heartbeatIntervalMs + 100);
  });

  it('never see half a record, however often it is written and read', async () => {
    const writer = registries.open(url, { timings: { heartbeatIntervalMs: 1 } });
    const metadata = { text: 'x'.repeat(100_000) };
    const record = newRecord({ metadata });
    const announcement = await writer.announce(record);
    const reader = await compiled.run(
      `
        const [, , url, id, timings] = process.argv;
        const registry = openRegistry(url, { timings: JSON.parse(timings), logger: { warn: fail, log() {} } });
        const watch = registry.watch('orders', (nodes) => {
          if (nodes.length !== 1 || nodes[0].id !== id || nodes[0].metadata.text.length !== 100000) fail('half a record');
        });
        function fail(why) { console.error(why); process.exit(1); }
        for (let look = 0; look < 500; look += 1) {
          watch.refresh();
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await registry.close();
      `,
      url,
      record.id,
      JSON.stringify({ ...FAST, heartbeatIntervalMs: 5 }),
    );
    processes.push(reader);
    const exit = once(reader, 'exit');
    // Written on top of the heartbeats, as fast as the disk takes it.
    while (reader.exitCode === null && reader.signalCode === null) await announcement.update(metadata);
    expect((await exit)[0]).toBe(0);
  });

  it('may be a peer in any language that keeps the layout', async () => {
    const id = randomUUID();
    const seen = see(registries.open(url));
    await seen.watch.ready;
    const peer = `
      const fs = require('node:fs');
      const [, dir, id] = process.argv;
      fs.mkdirSync(dir + '/orders', { recursive: true });
      setInterval(() => {
        const record = { expires_at: Date.now() + 600.5, port: 1, host: 'h', service_name: 'orders', id };
        fs.writeFileSync(dir + '/orders/.tmp-' + id, JSON.stringify(record));
        fs.renameSync(dir + '/orders/.tmp-' + id, dir + '/orders/' + id + '.json');
      }, 100);
    `;
    processes.push(spawn(process.execPath, ['-e', peer, directory, id], { stdio: 'inherit' }));
    await seen.waitFor([id]);
    expect(seen.nodes()).toEqual([{ id, service: 'orders', host: 'h', port: 1, metadata: {} }]);
  });

  it('are noticed at once, without waiting for the next look', async () => {
    const slow = { heartbeatIntervalMs: 60_000, ttlMs: 600_000 };
    const seen = see(registries.open(url, { timings: slow }));
    await seen.watch.ready;
    const record = newRecord();
    const announcement = await registries.open(url, { timings: slow }).announce(record);
    await seen.waitFor([record.id], 1_000);
    await announcement.withdraw();
    await seen.waitFor([], 1_000);
  });
});

describe('whatever else lies in the directory', () => {
  it('is ignored: garbage with one warning each, files of others without a word', async () => {
    const folder = join(directory, 'orders');
    await mkdir(join(folder, `${randomUUID()}.json`), { recursive: true });
    const expires_at = Date.now() + 60_000;
    const good = newRecord();
    const wire = { id: good.id, service_name: 'orders', host: 'h', port: 1, metadata: {}, expires_at };
    const faults: [string, string | object, RegExp][] = [
      [randomUUID(), '{"id":', /not JSON/],
      [randomUUID(), '', /not JSON/],
      [randomUUID(), 'null', /not a JSON object/],
      [randomUUID(), {}, /its id .* is not the id/],
      [randomUUID(), { port: 0 }, /its port 0/],
      [randomUUID(), { port: 70_000 }, /its port 70000/],
      [randomUUID(), { service_name: 'billing' }, /its service_name "billing"/],
      [randomUUID(), { expires_at: 'soon' }, /its expires_at is not a number/],
      [randomUUID(), 'x'.repeat(2_000_000), /longer than/],
      ['not-a-uuid', wire, /its name is not a UUID/],
    ];
    for (const [name, content] of faults) {
      const own =
        typeof content === 'object' && Object.keys(content).length > 0
          ? { ...wire, id: name, ...content }
          : wire;
      await writeFile(
        join(folder, `${name}.json`),
        typeof content === 'string' ? content : JSON.stringify(own),
      );
    }
    await writeFile(join(folder, `.${randomUUID()}.json`), JSON.stringify(wire));
    await writeFile(join(folder, 'README.txt'), 'hello');
    await writeFile(join(folder, `${good.id}.json`), JSON.stringify(wire));
    await writeFile(join(directory, 'a-file'), 'hello');
    const seen = see(registries.open(url));
    await seen.watch.ready;
    await pause(5 * FAST.heartbeatIntervalMs);
    expect(seen.history).toEqual([[good.id]]);
    for (const [name, , reason] of faults) {
      const warnings = logger.warnings.filter((text) => text.includes(`${name}.json`));
      expect(warnings).toEqual([expect.stringMatching(reason)]);
    }
    // The folder that is called like a record is the one that remains.
    expect(logger.warnings).toHaveLength(faults.length + 1);
    expect(logger.warnings.join('\n').length).toBeLessThan(5_000);
  });

  it('is cleaned up when its lease ended over a minute ago, and only then', async () => {
    const folder = join(directory, 'orders');
    await mkdir(folder);
    const write = async (expiresAt: number): Promise<string> => {
      const { id } = newRecord();
      const wire = { id, service_name: 'orders', host: 'h', port: 1, metadata: {}, expires_at: expiresAt };
      await writeFile(join(folder, `${id}.json`), JSON.stringify(wire));
      return `${id}.json`;
    };
    await write(Date.now() - 61_000);
    const recent = await write(Date.now() - 30_000);
    const [oldTemporary, newTemporary] = [`.${randomUUID()}.tmp`, `.${randomUUID()}.tmp`];
    await writeFile(join(folder, oldTemporary), '{');
    await utimes(join(folder, oldTemporary), new Date(0), new Date(Date.now() - 61_000));
    await writeFile(join(folder, newTemporary), '{');
    const seen = see(registries.open(url));
    await seen.watch.ready;
    expect(seen.history).toEqual([[]]);
    expect((await readdir(folder)).toSorted()).toEqual([newTemporary, recent].toSorted());
    expect(logger.warnings).toEqual([]);
  });
});

describe('a directory in trouble', () => {
  it('that is a file is a clear error at connect', async () => {
    await writeFile(join(directory, 'taken'), '');
    const fault = await faultOf(registries.open(`${url}/taken`).connect());
    expect(fault.code).toBe('UNAVAILABLE');
    expect(fault.rawMessage).toContain(`cannot use the directory of the registry ${url}/taken`);
    expect(fault.rawMessage).toContain('`registry` option (file:DIR)');
  });

  it('that nobody may write is a clear error at connect', async () => {
    // Root may write everywhere, except where the kernel itself says no.
    const closed = process.getuid?.() === 0 ? '/proc/mesh' : directory;
    await chmod(directory, 0o500);
    const fault = await faultOf(registries.open(`file:${closed}`).announce(newRecord()));
    expect(fault.code).toBe('UNAVAILABLE');
    expect(fault.rawMessage).toMatch(/cannot use the directory .*(EACCES|ENOENT|EPERM)/);
  });

  it('that is removed under living nodes makes nobody disappear, and is made again', async () => {
    const registry = registries.open(url);
    const record = newRecord();
    await registry.announce(record);
    const seen = see(registries.open(url));
    await seen.waitFor([record.id]);
    for (let round = 0; round < 5; round += 1) {
      // At one stroke: files that go one by one are nodes that leave.
      const away = `${directory}-${round}`;
      await rename(directory, away);
      await rm(away, { recursive: true });
      seen.watch.refresh();
      await pause(1.5 * FAST.heartbeatIntervalMs);
    }
    await eventually(() => expect(existsSync(join(directory, 'orders', `${record.id}.json`))).toBe(true));
    await pause(2 * FAST.ttlMs);
    expect(seen.history).toEqual([[record.id]]);
  });

  it('is told of when it can no longer be written, and again when it can', async () => {
    const registry = registries.open(url);
    const record = newRecord();
    await registry.announce(record);
    const folder = join(directory, 'orders');
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    await eventually(() => writeFile(folder, 'a file in the way', { flag: 'wx' }));
    await eventually(() => expect(registry.status.state).toBe('stale'));
    expect(logger.warnings).toEqual([expect.stringMatching(/is away \(cannot (write to|read) it: /)]);
    await rm(folder);
    await eventually(() => expect(registry.status.state).toBe('connected'));
    await see(registry).waitFor([record.id]);
  });
});

async function faultOf(work: Promise<unknown>): Promise<MeshError> {
  const error: unknown = await work.then(
    () => new Error('it worked'),
    (reason: unknown) => reason,
  );
  if (MeshError.is(error)) return error;
  throw error;
}
