/** The lock file is whole and names no place: `npm ci` works from any registry, on any platform. */
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

const text = readFileSync(join(import.meta.dirname, '..', '..', 'package-lock.json'), 'utf8');
const { packages } = JSON.parse(text) as { packages: Record<string, Locked> };

/** False for the folders of the repository itself: its top and its workspaces. */
function isInstalled(path: string): boolean {
  return path.includes('node_modules/');
}

/** True when a package at `path` finds `name`: in its own node_modules, or in that of a folder above. */
function finds(path: string, name: string): boolean {
  if (packages[posix.join(path, 'node_modules', name)] !== undefined) return true;
  if (path === '') return false;
  return finds(path.slice(0, Math.max(0, path.lastIndexOf('/node_modules/'))), name);
}

describe('package-lock.json', () => {
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
        .filter((name) => !finds(path, name))
        .map((name) => `${path} -> ${name}`),
    );
    expect(missing).toEqual([]);
  });
});
