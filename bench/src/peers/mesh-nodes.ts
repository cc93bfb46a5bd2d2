/** Many mesh nodes in one process, and one that holds a session with each of them: no peer of the tables, but for its memory. */
import { MeshNode, type MeshOptions, type NodeRecord, type ServiceRegistry } from 'nestjs-mesh';
import type { Json, Surroundings } from '../program/protocol.js';
import { Listing } from './listing.js';
import { meshTls } from './mesh-tls.js';
import type { Client, Serving } from './peer.js';

const SERVICE = 'bench-nodes';
const CALL = { pattern: 'echo', route: 'echo', data: { id: 0 }, metadata: undefined, timeoutMs: 30_000 };

/** `settings.count` nodes; the address is their records. */
export async function serve(surroundings: Surroundings): Promise<Serving> {
  const { count } = surroundings.settings as { readonly count: number };
  const nodes: MeshNode[] = [];
  for (let n = 0; n < count; n += 1) {
    const node = new MeshNode(optionsOf(surroundings, new Listing()));
    node.setHandlers({
      onRequest: (call) => call.respond(call.data),
      onEvent: () => undefined,
      hasChannel: () => false,
      onChannel: () => undefined,
    });
    await node.listen();
    nodes.push(node);
  }
  return {
    address: nodes.map(({ record }) => record) as unknown as Json,
    close: async () => void (await Promise.all(nodes.map((node) => node.close()))),
  };
}

const listing = new Listing();
let caller: MeshNode | undefined;

/** The one node of this process calls each node of the address once; those of earlier calls stay. */
export async function connect(surroundings: Surroundings): Promise<Client> {
  caller ??= new MeshNode({ ...optionsOf(surroundings, listing), listen: false });
  const node = caller;
  const records = surroundings.address as unknown as readonly NodeRecord[];
  listing.add(records);
  for (const { id } of records) {
    await new Promise((resolve, reject) => {
      const observer = { onPacket: resolve, onFailure: reject };
      node.request({ service: SERVICE, nodeId: id }, CALL, observer);
    });
  }
  return { close: () => node.close() };
}

function optionsOf({ settings, folder }: Surroundings, registry: ServiceRegistry): MeshOptions {
  const { tls } = settings as { readonly tls: boolean };
  return { service: SERVICE, registry, ...(tls ? { tls: meshTls(folder) } : {}) };
}
