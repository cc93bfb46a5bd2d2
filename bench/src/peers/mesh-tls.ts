/** The TLS of the mesh in a bench. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MeshOptions } from 'nestjs-mesh';

/** With the certificates of the folder of this run. */
export function meshTls(folder: string): NonNullable<MeshOptions['tls']> {
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
}
