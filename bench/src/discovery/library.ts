/** The registry of the library as it was built. It is not in the public API, so it is loaded from its file. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { NodeRecord, ServiceRegistry } from 'nestjs-mesh';

/** Where the library is unpacked. */
export const LIBRARY = join(import.meta.dirname, '..', '..', 'node_modules', 'nestjs-mesh', 'dist');

/** Opens a registry, as a node does. */
export type OpenRegistry = (
  url: string,
  options: { readonly logger: { warn(text: string): void; log(text: string): void } },
) => ServiceRegistry;

/** The real `openRegistry` of the build in the folder `dist`. */
export async function loadRegistry(dist: string): Promise<OpenRegistry> {
  const file = pathToFileURL(join(dist, 'registry', 'registry-url.js')).href;
  const { openRegistry } = (await import(file)) as { openRegistry: OpenRegistry };
  return openRegistry;
}

/** A node of this name; nothing listens there, since nobody calls it. */
export function recordOf(service: string): NodeRecord {
  return { id: crypto.randomUUID(), service, host: '10.0.0.7', port: 4_100, metadata: { zone: 'a' } };
}
