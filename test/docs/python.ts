/** The Python that runs the snippets. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './snippet-project.js';

/** The interpreter that `npm test` has prepared. */
export function python(): string {
  const own = join(ROOT, 'sample-app', 'python-peer', '.venv', 'bin', 'python');
  const found = process.env['MESH_PYTHON'] ?? (existsSync(own) ? own : undefined);
  if (found === undefined)
    throw new Error('the Python peer has no virtual environment yet: run `npm test` once');
  return found;
}
