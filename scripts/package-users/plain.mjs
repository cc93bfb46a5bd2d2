/** A user who writes plain JavaScript as ES modules: starts a service and stops it again, also with a lease thread. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshServer } from 'nestjs-mesh';

const directory = mkdtempSync(join(tmpdir(), 'mesh-user-'));
for (const options of [{ registry: 'memory:x' }, { registry: `file:${directory}`, leaseThread: true }]) {
  const server = new MeshServer({ service: 'x', ...options });
  await new Promise((resolve, reject) => {
    server.listen((error) => (error === undefined || error === null ? resolve() : reject(error)));
  });
  await server.close();
}
rmSync(directory, { recursive: true });
console.log('plain JavaScript: started and stopped');
