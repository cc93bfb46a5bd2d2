/** One service of many mesh nodes in one process, and a MeshClientProxy that calls it by its name. */
import 'reflect-metadata';
import { MeshClientProxy, MeshNode } from 'nestjs-mesh';
import { LIBRARY, loadRegistry } from '../discovery/library.js';
import type { Surroundings } from '../program/protocol.js';
import { nestCalls } from './nest-client.js';
import { messageOf, type Client, type Serving } from './peer.js';

/** So many nodes begin to listen at once. */
const AT_ONCE = 50;

/** `settings.count` nodes, all of which announce themselves over one connection. */
export async function serve({ settings, servers }: Surroundings): Promise<Serving> {
  const { count } = settings as { readonly count: number };
  const service = `bench-many-${process.pid}`;
  const openRegistry = await loadRegistry(LIBRARY);
  const registry = openRegistry(urlOf(servers), { logger: { warn: () => undefined, log: () => undefined } });
  const nodes: MeshNode[] = [];
  while (nodes.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - nodes.length) }, () => {
      const node = new MeshNode({ service, registry });
      node.setHandlers({
        onRequest: (call) => call.respond(call.data),
        onEvent: () => undefined,
        hasChannel: () => false,
        onChannel: () => undefined,
      });
      return node;
    });
    await Promise.all(some.map((node) => node.listen().then(() => node.announce())));
    nodes.push(...some);
  }
  return {
    address: service,
    close: async () => {
      await Promise.all(nodes.map((node) => node.close()));
      await registry.close();
    },
  };
}

/** Resolves once the client knows all nodes. */
export async function connect({ settings, servers, address }: Surroundings): Promise<Client> {
  const { count } = settings as { readonly count: number };
  const to = address as string;
  const client = new MeshClientProxy({ service: 'bench-client', to, registry: urlOf(servers) });
  await client.connect();
  // The first call makes it look for the nodes.
  await nestCalls(client).call(messageOf(100));
  while (client.peers.filter(({ service }) => service === to).length < count)
    await new Promise((resolve) => setTimeout(resolve, 20));
  return { ...nestCalls(client), close: () => client.close() };
}

function urlOf(servers: Surroundings['servers']): string {
  const { redis } = servers;
  if (redis === undefined) throw new Error('these nodes announce themselves in Redis, which is not there');
  return redis;
}
