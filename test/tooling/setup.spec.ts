/** What `npm test` and `npm run demo` need is installed once, and what cannot be installed is named with its remedy. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadScript } from './load-script.js';

const { reasonToInstall } = await loadScript<{ reasonToInstall(root: string): string | undefined }>(
  'ensure-npm',
);
const { ensurePython } = await loadScript<{ ensurePython(at: { peer: string }): Promise<string> }>(
  'ensure-python',
);
const { ensureRedis } = await loadScript<{ ensureRedis(): Promise<string> }>('ensure-redis');
const { installSystemPackage } = await loadScript<{
  installSystemPackage(names: { apt: string; brew: string }): Promise<string | undefined>;
}>('system-package');

const environment = { ...process.env };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-setup-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  for (const name of ['PYTHON', 'REDIS_SERVER', 'MESH_NO_SYSTEM_INSTALL']) {
    if (environment[name] === undefined) delete process.env[name];
    else process.env[name] = environment[name];
  }
});

describe('The npm packages', () => {
  const locked = {
    '': { version: '1.0.0' },
    'node_modules/a': { version: '1.2.3' },
    'node_modules/workspace': { link: true, resolved: 'workspace' },
    workspace: { version: '1.0.0' },
    'node_modules/for-another-platform': { version: '1.0.0', optional: true },
  };

  function write(installed: object | undefined): void {
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: locked }));
    if (installed === undefined) return;
    mkdirSync(join(folder, 'node_modules'));
    writeFileSync(
      join(folder, 'node_modules', '.package-lock.json'),
      JSON.stringify({ packages: installed }),
    );
  }

  it('are installed when there are none', () => {
    write(undefined);
    expect(reasonToInstall(folder)).toBe('node_modules is missing');
  });

  it('are left alone when they are those of the lock file', () => {
    write({ 'node_modules/a': { version: '1.2.3' }, 'node_modules/workspace': { link: true } });
    expect(reasonToInstall(folder)).toBeUndefined();
  });

  it.each([
    ['older', { 'node_modules/a': { version: '1.0.0' } }, '1.0.0'],
    ['missing', {}, 'missing'],
  ])('are installed when one is %s', (_what, installed, found) => {
    write(installed);
    expect(reasonToInstall(folder)).toBe(`node_modules/a is ${found}, and package-lock.json asks for 1.2.3`);
  });

  it('are installed when a workspace is not linked', () => {
    write({ 'node_modules/a': { version: '1.2.3' } });
    expect(reasonToInstall(folder)).toBe(
      'node_modules/workspace is missing, and package-lock.json asks for a link',
    );
  });
});

describe('The virtual environment of the Python peer', () => {
  it('is made once, and brought up to date when the requirements change', async () => {
    const requirements = join(folder, 'requirements-dev.txt');
    const stamp = join(folder, '.venv', '.installed');
    writeFileSync(requirements, '');
    const python = await ensurePython({ peer: folder });
    expect(statSync(python).isFile()).toBe(true);

    const { mtimeMs } = statSync(stamp);
    await ensurePython({ peer: folder });
    expect(statSync(stamp).mtimeMs).toBe(mtimeMs);

    writeFileSync(requirements, '# nothing new, but changed\n');
    await ensurePython({ peer: folder });
    expect(statSync(stamp).mtimeMs).toBeGreaterThan(mtimeMs);
  }, 120_000);

  it('is refused with the name of an interpreter that cannot be run', async () => {
    writeFileSync(join(folder, 'requirements-dev.txt'), '');
    process.env['PYTHON'] = join(folder, 'no-such-python');
    await expect(ensurePython({ peer: folder })).rejects.toThrow(/no-such-python.*set PYTHON/s);
  });

  it('is refused in a folder without requirements', async () => {
    await expect(ensurePython({ peer: folder })).rejects.toThrow(/requirements-dev\.txt is missing/);
  });
});

describe('The Redis server', () => {
  it('is the one that REDIS_SERVER names, which must be there', async () => {
    process.env['REDIS_SERVER'] = join(folder, 'no-such-redis');
    await expect(ensureRedis()).rejects.toThrow(/REDIS_SERVER is ".*no-such-redis".*set REDIS_SERVER/s);
  });

  it('must be able to run', async () => {
    const broken = join(folder, 'redis-server');
    writeFileSync(broken, '#!/bin/sh\necho broken library; exit 127\n', { mode: 0o755 });
    process.env['REDIS_SERVER'] = broken;
    await expect(ensureRedis()).rejects.toThrow(/--version" failed: broken library/);
  });
});

describe('A system package', () => {
  it('is not installed where MESH_NO_SYSTEM_INSTALL=1 forbids it', async () => {
    process.env['MESH_NO_SYSTEM_INSTALL'] = '1';
    await expect(installSystemPackage({ apt: 'none', brew: 'none' })).resolves.toContain(
      'MESH_NO_SYSTEM_INSTALL',
    );
  });
});
