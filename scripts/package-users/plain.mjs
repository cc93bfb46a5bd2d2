/** A user who writes plain JavaScript as ES modules: starts a service and stops it again. */
import { MeshServer } from 'nestjs-mesh';

const server = new MeshServer({ service: 'x', registry: 'memory:x' });
await new Promise((resolve, reject) => {
  server.listen((error) => (error === undefined || error === null ? resolve() : reject(error)));
});
await server.close();
console.log('plain JavaScript: started and stopped');
