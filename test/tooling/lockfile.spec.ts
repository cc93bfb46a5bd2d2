/** The lock files are whole and name no place: `npm ci` works from any registry, on any platform. */
import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, it } from '@jest/globals';

interface Locked {
  version?: string;
  resolved?: string;
  link?: boolean;
  integrity?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

type Packages = Record<string, Locked>;

function packagesOf(folder: string): Packages {
  const text = readFileSync(join(import.meta.dirname, '..', '..', folder, 'package-lock.json'), 'utf8');
  return (JSON.parse(text) as { packages: Packages }).packages;
}

/** False for the folders of the repository itself: its top and its workspaces. */
function isInstalled(path: string): boolean {
  return path.includes('node_modules/');
}

/** True when a package at `path` finds `name`: in its own node_modules, or in that of a folder above. */
function finds(packages: Packages, path: string, name: string): boolean {
  if (packages[posix.join(path, 'node_modules', name)] !== undefined) return true;
  if (path === '') return false;
  return finds(packages, path.slice(0, Math.max(0, path.lastIndexOf('/node_modules/'))), name);
}

describe.each(['.', 'bench'])('package-lock.json of %s', (folder) => {
  const packages = packagesOf(folder);

  it('has no download addresses', () => {
    const places = Object.values(packages).map(({ resolved }) => resolved ?? '');
    expect(places.filter((place) => /^\w+:/.test(place))).toEqual([]);
  });

  it('has a checksum for every package that is downloaded', () => {
    const downloaded = Object.entries(packages).filter(
      ([path, { link }]) => isInstalled(path) && link !== true,
    );
    expect(downloaded.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual(
      [],
    );
  });

  // npm leaves out, without a word, what the registry could not give when the file was made; `npm ci` then refuses it.
  it('has every package that another one asks for, those of other platforms too', () => {
    const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !finds(packages, path, name))
        .map((name) => `${path} -> ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

describe('The packages of the benchmark', () => {
  it('are those of the repository, in the same versions, wherever both have one', () => {
    const ours = packagesOf('.');
    const theirs = Object.entries(packagesOf('bench'));
    const named = ['@nestjs/', 'ioredis', 'msgpackr', 'rxjs', 'reflect-metadata', 'typescript'];
    const shared = theirs.filter(
      ([path]) => named.some((name) => path.startsWith(`node_modules/${name}`)) && ours[path] !== undefined,
    );
    expect(shared.length).toBeGreaterThan(named.length);
    expect(shared.filter(([path, { version }]) => ours[path]?.version !== version)).toEqual([]);
  });
});
