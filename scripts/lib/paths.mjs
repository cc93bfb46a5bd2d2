/** Where things are in the repository, as absolute paths. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top folder of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/[/\\]$/, '');

/** Scratch space that git ignores and that may be deleted at any time. */
export const CACHE = join(ROOT, '.cache');

/** The Python peer of the sample application. */
export const PYTHON_PEER = join(ROOT, 'sample-app', 'python-peer');

/** The benchmark, an npm project of its own. */
export const BENCH = join(ROOT, 'bench');
